"""Enumerable answers in texts of evidence: what logs point at, which pod is worst off, where it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

SIGNS: dict[str, re.Pattern[str]] = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in {
    "certificate": r"certificate (?:has |is |was )?(?:expired|not yet valid)|certificate_expired|x509: certificate"
                   r"|CERTIFICATE_VERIFY_FAILED|SSLHandshake|certificate verify failed|NotAfter",
    "ports": r"cannot assign requested address|EADDRNOTAVAIL|ephemeral ports?\b|port exhaustion|WSAENOBUFS|10048\b"
             r"|only one usage of each socket address",
    "pool": r"connection pool (?:is )?(?:exhausted|full|timeout)|pool exhausted|too many (?:clients|connections)"
            r"|remaining connection slots|QueuePool limit|timed? ?out (?:waiting|acquiring).{0,40}connection"
            r"|unable to acquire.{0,30}connection",
    "name_resolution": r"no such host|name resolution|failed to resolve|NameResolutionError|NXDOMAIN|SERVFAIL"
                       r"|getaddrinfo|could not resolve|EAI_AGAIN|name or service not known",
    "disk": r"no space left on device|ENOSPC|disk (?:is )?full|disk quota exceeded|could not extend file",
    "memory": r"out ?of ?memory|OutOfMemoryError|cannot allocate memory|oom-?kill|heap (?:space|limit)|MemoryError",
    "lock": r"deadlock|lock wait timeout|waiting for (?:a )?lock|lock timeout|could not obtain lock",
    "configuration": r"environment variable \S{1,80} is (?:undefined|not set|missing|required)|missing (?:required )?"
                     r"(?:env|config|setting|key|variable|option)|KeyError: '[A-Z_]+'|config(?:uration)? (?:file )?"
                     r"(?:\S{1,80} )?(?:not found|is missing|invalid)|is not set\b"
                     r"|unknown configuration|invalid configuration",
    "syntax": r"syntax error|SyntaxError|unexpected token|parse error near",
    "permission": r"permission denied|access denied|EACCES|forbidden|401 unauthorized|authentication failed",
    "slow_dependency": r"(?:context )?deadline exceeded|upstream (?:request )?timed? ?out|read timed out"
                       r"|timed out after|SocketTimeout|slow query|took \d{4,} ?ms"
                       r"|(?:call|query|request) (?:\w+ ){0,4}(?:completed|took|finished) (?:in )?"
                       r"(?:[3-9]|\d{2,})(?:\.\d+)? ?s(?:ec)?",
    "refused": r"connection refused|ECONNREFUSED|connect: refused|connection reset by peer",
    "exception": r"Traceback \(most recent|panic:|NullPointerException|Unhandled exception|segmentation fault"
                 r"|\b\w+(?:Error|Exception): |undefined is not a function|nil pointer",
}.items()}
"""What lines say about each sign, the most telling sign first."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,252}")
"""Names that may become part of a query or a conclusion."""

BAD_STATES = ("OOMKilled", "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError",
              "Error", "Pending", "Terminating", "Unknown", "Completed", "Running")
"""States that `kubectl get pods` shows, the worst first."""


BEFORE, AFTER = timedelta(minutes=30), timedelta(minutes=10)
"""The span around the begin of an incident about which is asked."""
SHOWN_POINTS = 12
"""Most values of a series that its line shows, at equal distances, and the last."""

MILD = re.compile(r"^\W*(?:\S+\W+){0,3}?(?:WARN(?:ING)?|INFO|DEBUG|TRACE|NOTICE)\b")
"""Lines of which one alone says nothing."""


def sign_of(content: str) -> str:
    """The sign that most lines show, the more telling of several with as many; `nothing` if no line shows one.

    A line counts twice, but once if it is a warning or milder, and a sign needs to count two. A general sign, an
    exception or a refused connection, counts only where no other is shown.
    """
    counts = dict.fromkeys(SIGNS, 0)
    for line in content.split("\n"):
        for name, pattern in SIGNS.items():
            if pattern.search(line[:2_000]):
                counts[name] += 1 if MILD.match(line[:200]) else 2
                break
    shown = {name: n for name, n in counts.items() if n >= 2}
    found = {name: n for name, n in shown.items() if name not in ("exception", "refused")} or shown
    order = list(SIGNS)
    return min(found, key=lambda name: (-found[name], order.index(name))) if found else "nothing"


def worst_pod(listing: str, service: str) -> str:
    """The pod of `service` (of all, if it is "") that is worst off in what `kubectl get pods` printed; "" for none."""
    head, *rows = listing.strip("\n").split("\n")
    columns = head.split()
    if "NAME" not in columns or "STATUS" not in columns:
        return ""
    name, status = columns.index("NAME"), columns.index("STATUS")
    found: list[tuple[int, bool, int, int, str]] = []
    for row in rows:
        cells = row.split()
        if len(cells) <= max(name, status) or not plain_name(cells[name]):
            continue
        if not service or cells[name].startswith(service):
            state = cells[status].removeprefix("Init:")
            rank = BAD_STATES.index(state) if state in BAD_STATES else BAD_STATES.index("Error")
            ready = cells[columns.index("READY")] if "READY" in columns else "1/1"
            unready = len(set(ready.split("/"))) > 1
            found.append((rank, not unready, -_restarts(cells, columns), len(found), cells[name]))
    return min(found)[-1] if found else ""


def _restarts(cells: list[str], columns: list[str]) -> int:
    place = columns.index("RESTARTS") if "RESTARTS" in columns else -1
    return int(cells[place]) if 0 <= place < len(cells) and cells[place].isdigit() else 0


def node_of(description: str) -> str:
    """The node in what `kubectl describe pod` printed; "" for none."""
    found = re.search(r"^Node:\s+([\w.-]+)", description, re.MULTILINE)
    return found[1] if found and found[1] != "none" else ""


def condition_of(description: str, name: str) -> str:
    """The status of a condition in what `kubectl describe` printed: `True`, `False`, `Unknown`; "" if it has none."""
    found = re.search(rf"\b{re.escape(name)}\s+(True|False|Unknown)\b", description)
    return found[1] if found else ""


def plain_name(text: str) -> str:
    """`text` if it is a name, else "": what alerts and telemetry say may have been written by anybody."""
    return text if NAME.fullmatch(text) else ""


_SERIES = re.compile(r".*\} from (\S+) to (\S+): (.+)")


def rose_after(table: Mapping[str, str], content: str, start: str) -> bool:
    """Whether one series was at most zero until the incident had begun, and more after that.

    `content` as `answer_of_series` writes it; `start` is that of the span. Where it cannot be told, it is not so.
    """
    line = _SERIES.fullmatch(content.partition("\n")[0]) if table.get("series") == "1" else None
    if line is None or not table["points"].isdigit():
        return False
    begin, end = (datetime.fromisoformat(moment) for moment in line.groups()[:2])
    values = [float(value) for value in line[3].split()]
    intervals = int(table["points"]) - 1
    rise = next((position for position, value in enumerate(values) if value > 0), 0)
    if rise == 0 or intervals < len(values) - 1:
        return False
    stride = -(-(intervals + 1) // SHOWN_POINTS)
    calm = begin + (end - begin) * ((rise - 1) * stride / intervals)
    return calm >= datetime.fromisoformat(start) + BEFORE
