"""Host functions of the collection stage: reading alerts, asking connectors, choosing handlers, masking evidence."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from .connectors.configuration import ConfigurationError, connector_of
from .connectors.interface import iso
from .deduplicate import deduplicate
from .incident import AlertError, Json, read_alert
from .masking import SECRET_KINDS, kind_of, mask_texts
from .outcomes import Answer, Outcome, cut, failed, too_late
from .readings import AFTER, BEFORE, plain_name
from .runbooks import deviations

FOLDER = Path(__file__).parent
POD = re.compile(r"(?P<workload>.+?)-[a-z0-9]{6,10}-[a-z0-9]{5}")
PLAIN_FIELDS = frozenset({"id", "fingerprint", "time", "outcome", "severity", "status"})
"""Fields that are never masked, since others find things by them."""

GRACE = 1.0
"""Seconds after its deadline until a connector is given up."""


def read_reports(alert: str) -> list[dict[str, Any]]:
    """The incidents in an alert, duplicates joined, those that go on first. Raises AlertError."""
    groups = sorted(deduplicate(read_alert(alert)), key=lambda group: group.resolved)
    if not groups:
        raise AlertError("the alert names no incident")
    return [asdict(group) for group in groups]


def place_of(incident: dict[str, Any], sources: str, deadline: float) -> dict[str, Any]:
    """What queries about an incident ask about, as narrow as its labels allow. Without a time it is now."""
    labels: dict[str, str] = incident["labels"]
    moment = datetime.fromisoformat(incident["time"]) if incident["time"] else datetime.now(UTC)
    pod, service = plain_name(labels.get("pod", "")), plain_name(incident["service"])
    for value in (labels.get("deployment", ""), service, *re.findall(r"[a-z0-9-]+", incident["description"])):
        if not pod and POD.fullmatch(value):
            pod = value
    workload = POD.fullmatch(service) or (None if service else POD.fullmatch(pod))
    service = workload["workload"] if workload else service
    node = plain_name(labels.get("node", ""))
    breadth = "pod" if pod else "workload" if service else "node" if node else "namespace"
    return {
        "breadth": breadth, "namespace": plain_name(labels.get("namespace", "")) or "default",
        "pod": pod, "service": service,
        "node": node, "host": plain_name(labels.get("host") or labels.get("instance", "")),
        "start": iso((moment - BEFORE).timestamp()), "end": iso((moment + AFTER).timestamp()),
        "sources": sources, "deadline": deadline,
    }


def ask(sources: str, source: str, query: str, start: str, end: str, deadline: float) -> dict[str, Any]:
    """Evidence for one query, whatever happens: see `connectors/interface.py`. Its id is given later."""
    try:
        connector = connector_of(sources, source)
    except ConfigurationError as error:
        answer = failed(str(error))
    else:
        answer = within(lambda: connector.query(source, query, start, end, deadline), source, deadline)
    return {"id": "", "source": source, "query": query, "time": answer.time, "outcome": str(answer.outcome),
            "table": answer.table, "text": answer.text}


def within(work: Any, what: str, deadline: float) -> Answer:
    """The answer of `work`, or `timeout` a moment after the deadline; its thread is left behind then."""
    answers: list[Answer] = []

    def run() -> None:
        try:
            answers.append(cut(work()))
        except Exception as error:  # a defect of one connector must not cost the report
            answers.append(failed(f"{what} failed: {type(error).__name__}: {error}"))

    thread = threading.Thread(target=run, name=f"ask-{what}", daemon=True)
    thread.start()
    thread.join(deadline + GRACE)
    return answers[0] if answers else too_late(what, deadline)


def choose(incident: dict[str, Any], rules: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The handler of the first rule whose `exact` holds the kind; else of the first whose `pattern` is found in it;
    else of the first whose pattern is found in the title.

    Gives the handler's name and in words which rule it was; `no handler` if none fits.
    """
    kind = incident["kind"]
    for rule in rules:
        if kind in rule["exact"]:
            return {"handler": rule["handler"], "rule": f"the alert is called {kind}"}
    for what, text in (("name", kind), ("title", incident["title"])):
        for rule in rules:
            if rule["pattern"] and re.search(rule["pattern"], text, re.IGNORECASE):
                return {"handler": rule["handler"], "rule": f"the {what} of the alert fits /{rule['pattern']}/"}
    return {"handler": "no handler", "rule": f"no rule fits an alert called {kind}"}


def version_of(handler: str) -> str:
    """The digest of a handler's file and that of the actions it is made of; "" if there is no such handler."""
    file = FOLDER / "handlers" / f"{handler.replace(' ', '_')}.sem"
    if not file.is_file():
        return ""
    return f"{file.name} {_digest(file)}, actions.sem {_digest(FOLDER / 'actions.sem')}"


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()[:12]


def assemble(incident: dict[str, Any], others: Sequence[str], findings: dict[str, Any]) -> dict[str, Any]:
    """Everything as it is shown and told to models: evidence numbered, each piece once, and all values masked.

    `names` says what the placeholders stand for, without those of secrets.
    """
    shown, names = masked(gathered(incident, others, findings))
    return {**shown, "outcomes": counts_of(shown["evidence"]), "names": names,
            "missing": [*missing_of(shown["evidence"]), *deviations(shown["steps"])]}


def gathered(incident: dict[str, Any], others: Sequence[str], findings: dict[str, Any]) -> dict[str, Any]:
    """The incident, the path through the tree and the evidence, each piece once and numbered; nothing is masked yet."""
    steps: Sequence[dict[str, Any]] = findings["steps"]
    numbers: dict[tuple[str, str], str] = {}
    evidence: list[dict[str, Any]] = []
    path = []
    for step in steps:
        ids = []
        for piece in step["evidence"]:
            key = (piece["source"], piece["query"])
            if key not in numbers:
                numbers[key] = f"E{len(numbers) + 1}"
                evidence.append(piece | {"id": numbers[key]})
            ids.append(numbers[key])
        path.append({"action": step["action"], "result": step["result"], "evidence": ids})
    return {"incident": incident, "others": list(others), "conclusion": findings["conclusion"], "steps": path,
            "evidence": evidence, "suggestions": findings["suggestions"]}


def counts_of(evidence: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many pieces have each outcome."""
    return {str(outcome): sum(e["outcome"] == outcome for e in evidence) for outcome in Outcome}


def missing_of(evidence: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each piece that gave nothing."""
    return [f"{e['id']} {e['source']}: {e['outcome']}, {e['query']}" + (f" ({e['text']})" if e["text"] else "")
            for e in evidence if e["outcome"] != Outcome.OK]


def masked(value: Json) -> tuple[Json, dict[str, str]]:
    """`value` with texts masked, but not `PLAIN_FIELDS`, and what the placeholders of no secrets stand for."""
    shown, names = masked_with(value, {})
    return shown, {n: v for n, v in names.items() if kind_of(n) not in SECRET_KINDS}


def masked_with(value: Json, known: Mapping[str, str]) -> tuple[Json, dict[str, str]]:
    """As `masked`, where `known` placeholders keep their values; what all placeholders stand for, secrets too."""
    texts = _texts(value)
    replaced, names = mask_texts(texts, known)
    shown = dict(zip(texts, replaced, strict=True))
    return _replace(value, shown), names


def _texts(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key not in PLAIN_FIELDS for text in (key, *_texts(inner))]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []


def _replace(value: Json, shown: dict[str, str]) -> Json:
    if isinstance(value, str):
        return shown[value]
    if isinstance(value, dict):
        return {key if key in PLAIN_FIELDS else shown[key]: inner if key in PLAIN_FIELDS else _replace(inner, shown)
                for key, inner in value.items()}
    return [_replace(inner, shown) for inner in value] if isinstance(value, list) else value
