"""What was collected of an incident in few words: for prompts, for summaries, and for finding incidents like it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .outcomes import Outcome
from .readings import MILD, SIGNS

EVIDENCE_CHARACTERS = 6_000
"""Of all evidence together in a prompt; each piece gets a fair share."""
LINES, PLAIN_LINES = 8, 4
"""Most lines of one piece of evidence; the first so many of one in which no line tells anything."""
LINE_CHARACTERS = 160
TABLE = ("max", "min", "first", "last")
"""Which values of a series are told."""

_BAD = re.compile(r"error|fail|fatal|panic|exception|refused|denied|timed? ?out|warn|kill|back-?off|exhaust|no space"
                  r"|not found|unhealthy|unable|cannot|expired|evict|pressure", re.IGNORECASE)
_COUNTER = re.compile(r"\d+")


def incident_text(incident: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], conclusion: str,
                  handler: str) -> str:
    """The alert and what its handler found, a line for each."""
    lines = [f"{incident['kind']}: {incident['title']}"]
    for name in ("scope", "severity", "time"):
        if incident[name]:
            lines.append(f"{name}: {incident[name]}")
    if incident["description"] and incident["description"] != incident["title"]:
        lines.append(f"description: {' '.join(incident['description'].split())[:600]}")
    lines += [f"{step['action']}: {step['result']}" for step in steps]
    lines.append(f"handler {handler}: {conclusion}" if steps else "no handler")
    return "\n".join(lines)


def evidence_text(steps: Sequence[Mapping[str, Any]], evidence: Sequence[Mapping[str, Any]]) -> str:
    """Each piece of evidence: its number, what it answers, where it is from, and its telling lines."""
    about: dict[str, str] = {}
    for step in steps:
        for number in step["evidence"]:
            about.setdefault(number, f"{step['action']}: {step['result']}")
    share = EVIDENCE_CHARACTERS // max(len(evidence), 1)
    blocks = []
    for piece in evidence:
        block = f"{piece['id']} {about.get(piece['id'], piece['source'])}"
        for line in (f"{piece['source']} {piece['query']}"[:LINE_CHARACTERS], *telling_lines(piece)):
            if len(block) + len(line) > share:
                break
            block += f"\n  {line}"
        blocks.append(block)
    return "\n".join(blocks) or "nothing was collected"


def diagnosis_text(incident: Mapping[str, Any], steps: Sequence[Mapping[str, Any]],
                   evidence: Sequence[Mapping[str, Any]], conclusion: str) -> str:
    """What summaries are made of and incidents are found by: the alert, the path of its handler, telling lines."""
    lines = [incident["kind"], incident["title"], conclusion]
    lines += [f"{step['action']}: {step['result']}" for step in steps]
    for piece in evidence:
        if piece["outcome"] == Outcome.OK:
            lines += [line for line in telling_lines(piece) if _BAD.search(line) or sign(line)]
    return "\n".join(lines)


def telling_lines(piece: Mapping[str, Any]) -> list[str]:
    """The lines of a piece of evidence that tell most, in their order, repeated ones once; its values for a table."""
    if piece["outcome"] != Outcome.OK:
        return [f"{piece['outcome']}: {piece['text'] or 'nothing there'}"[:LINE_CHARACTERS]]
    values = [f"{name} {piece['table'][name]}" for name in TABLE if name in piece["table"]]
    if values:
        return [", ".join(values)]
    counts: dict[str, int] = {}
    shown: dict[str, str] = {}
    for line in piece["text"].split("\n"):
        kept = " ".join(line.split())[:LINE_CHARACTERS]
        key = _COUNTER.sub("0", kept)
        if kept:
            counts[key] = counts.get(key, 0) + 1
            shown.setdefault(key, kept)
    order = list(shown)
    best = set(sorted(order, key=lambda key: -weight(shown[key]))[:LINES])
    best = {key for key in best if weight(shown[key])} or set(order[:PLAIN_LINES])
    return [shown[key] + (f" ({counts[key]} times)" if counts[key] > 1 else "") for key in order if key in best]


def weight(line: str) -> int:
    """How much a line tells: 3 for a known sign, 2 for something bad, 1 for a warning, 0 for all others."""
    if sign(line):
        return 2 if MILD.match(line) else 3
    return (1 if MILD.match(line) else 2) if _BAD.search(line) else 0


def sign(line: str) -> bool:
    """Whether a line shows one of the known signs."""
    return any(pattern.search(line) for pattern in SIGNS.values())
