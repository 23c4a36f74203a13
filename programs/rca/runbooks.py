"""Runbooks that a team has: a directory of Markdown files, matched with an alert and followed step by step.

A line `Alerts:` lists names and /regular expressions/. Steps are the numbered items. A span of code in a step is a
query if it begins with `kubectl ` or with a source and a colon (`metrics: up`); `{namespace}`, `{pod}`, `{service}`,
`{node}` and `{host}` are those of the incident. Connectors only read, so commands that write are denied; a step without
a query is left to a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

MOST_FILES, MOST_BYTES, MOST_QUERIES = 1_000, 200_000, 40
"""Of a directory, of a file, of a runbook."""
STEP_CHARACTERS = 160
LEFT, IMPOSSIBLE = "left to a person", "not possible"

_ALERTS = re.compile(r"^\W*alerts?\W*:\W*?(?P<names>[^\n]*[^\s*])", re.IGNORECASE | re.MULTILINE)
_RULE = re.compile(r"\s*(/[^/]+/|[^,]+)")
_STEP = re.compile(r"^ {0,3}\d{1,3}[.)]\s+(?P<text>.+?)(?=^ {0,3}\d{1,3}[.)]\s|^#|\n\s*\n|\Z)",
                   re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?P<code>.+?)\1", re.DOTALL)
_QUERY = re.compile(r"(?P<source>[a-z][a-z0-9_-]{0,30}):\s+(?P<query>\S.*)", re.DOTALL)
_NAME = re.compile(r"\{(namespace|pod|service|node|host)\}")


@dataclass(frozen=True)
class Runbook:
    """`rules` are names of alerts and, between strokes, regular expressions."""

    name: str
    rules: tuple[str, ...]
    steps: tuple[str, ...]
    digest: str


class RunbookError(ValueError):
    """A catalogue cannot be read; one line."""


def read_runbooks(directory: str) -> Iterator[Runbook]:
    """All files of a directory in the order of their names. Raises RunbookError with what is wrong."""
    folder = Path(directory)
    if not folder.is_dir():
        raise RunbookError(f"there is no directory {directory}")
    files = sorted(folder.glob("*.md"))
    if not files or len(files) > MOST_FILES:
        raise RunbookError(f"{directory} holds {len(files)} files `*.md`; 1 to {MOST_FILES} are read")
    for file in files:
        try:
            content = file.read_bytes() if file.stat().st_size <= MOST_BYTES else None
            text = content.decode("utf-8-sig") if content is not None else ""
        except (OSError, UnicodeDecodeError) as error:
            raise RunbookError(f"{file} cannot be read: {error}") from None
        if content is None:
            raise RunbookError(f"{file} has more than {MOST_BYTES} bytes: this is no runbook")
        yield read_runbook(file.stem, text.replace("\r\n", "\n"), sha256(content).hexdigest()[:12])


def read_runbook(name: str, text: str, digest: str = "") -> Runbook:
    """A runbook in Markdown. Raises RunbookError where an expression is wrong."""
    found = _ALERTS.search(text)
    rules = tuple(rule.strip(" `*") for rule in _RULE.findall(found["names"])) if found else ()
    for rule in filter(is_pattern, rules):
        try:
            re.compile(rule[1:-1])
        except re.error as error:
            raise RunbookError(f"the runbook {name} has a wrong expression {rule}: {error}") from None
    return Runbook(name, rules, tuple(" ".join(step["text"].split()) for step in _STEP.finditer(text)), digest)


def is_pattern(rule: str) -> bool:
    """Whether a rule is a regular expression."""
    return len(rule) > 2 and rule[0] == rule[-1] == "/"


def match(runbooks: list[Runbook], incident: Mapping[str, Any]) -> tuple[Runbook, str] | None:
    """The runbook that an alert links to; else one that has its name; else one whose expression is found in the name,
    then in the title. With the rule in words."""
    link = re.sub(r"[?#].*|\.md$|/$", "", incident["labels"].get("runbook_url", "").split("#")[0]).rpartition("/")[2]
    for runbook in runbooks:
        if link and runbook.name.casefold() == link.casefold():
            return runbook, "the alert links to it"
    for runbook in runbooks:
        if incident["kind"] in runbook.rules:
            return runbook, f"it is for {incident['kind']}"
    for what in ("kind", "title"):
        for runbook in runbooks:
            for rule in filter(is_pattern, runbook.rules):
                if re.search(rule[1:-1], incident[what][:1_000], re.IGNORECASE):
                    return runbook, f"its {rule} is in the {'name' if what == 'kind' else what} of the alert"
    return None


def runbook_for(runbooks: str, incident: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """`Runbook` of runbooks.sem: what to ask, with names of the incident; without a directory there is none."""
    nothing = {"name": "", "rule": "", "version": "", "items": [], "problem": ""}
    if not runbooks:
        return nothing
    try:
        found = match(list(read_runbooks(runbooks)), incident)
    except RunbookError as error:
        return nothing | {"problem": str(error)}
    if found is None:
        return nothing | {"rule": "no runbook is for this alert"}
    runbook, rule = found
    items = [item | {"action": f"runbook {runbook.name}, step {number}: {shown(step)}"[:STEP_CHARACTERS]}
             for number, step in enumerate(runbook.steps, 1) for item in items_of(step, place)]
    problem = "" if items else f"the runbook {runbook.name} has no numbered steps"
    if len(items) > MOST_QUERIES:
        problem = f"the runbook {runbook.name} has {len(items)} steps and queries; {MOST_QUERIES} were followed"
    return {"name": runbook.name, "rule": rule, "version": f"{runbook.name}.md {runbook.digest}",
            "items": items[:MOST_QUERIES], "problem": problem}


def items_of(step: str, place: Mapping[str, Any]) -> list[dict[str, str]]:
    """The queries in a step; one item without a query where a person has to do it."""
    items = []
    for span in _CODE.finditer(step):
        code = span["code"].strip()
        query = _QUERY.fullmatch(code)
        source, asked = ("kubernetes", code[len("kubectl "):]) if code.startswith("kubectl ") else (
            query.group("source", "query") if query else ("", ""))
        if not source:
            continue
        lacking = [name for name in _NAME.findall(asked) if not place[name]]
        asked = _NAME.sub(lambda name: str(place[name[1]]), asked).strip()
        items.append({"source": "", "query": "", "result": f"{IMPOSSIBLE}: the alert names no {lacking[0]}"} if lacking
                     else {"source": source, "query": asked, "result": ""})
    return items or [{"source": "", "query": "", "result": LEFT}]


def shown(step: str) -> str:
    """A step without its queries' marks."""
    return " ".join(step.replace("`", "").replace("*", "").split())


def deviations(steps: list[dict[str, Any]]) -> list[str]:
    """A line for each step of a runbook that nobody has done."""
    return [f"{step['action']}: {step['result']}" for step in steps
            if not step["evidence"] and step["action"].startswith("runbook ")
            and step["result"].startswith((LEFT, IMPOSSIBLE))]
