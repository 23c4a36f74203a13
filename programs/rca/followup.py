"""The host functions of followup.sem: a report becomes a prompt's parts again, and an answer is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .collect import masked
from .digest import evidence_text, incident_text
from .masking import unmask
from .outcomes import Outcome, clean
from .report import reports_in


def read_report(report: str, question: str) -> dict[str, Any]:
    """`Asked` of followup.sem; of several reports the first counts. Raises ReportError."""
    found = reports_in(report)[0]
    shown, names = masked({
        "incident": found["incident"], "findings": found["findings"], "evidence": found["evidence"],
        "conclusion": found["conclusion"]["claim"], "question": question})
    return {
        "incident": incident_text(shown["incident"], shown["findings"], shown["conclusion"], found["handler"]["name"]),
        "evidence": evidence_text(shown["findings"], shown["evidence"]), "question": shown["question"],
        "backing": [piece["id"] for piece in found["evidence"] if piece["outcome"] == Outcome.OK], "names": names}


def check_answer(asked: Mapping[str, Any], answered: Mapping[str, Any]) -> dict[str, Any]:
    """`Statement` of report.sem: the answer, and the evidence behind it that there is."""
    numbers = [f"E{number}" for number in dict.fromkeys(answered["evidence"])]
    backed = [number for number in numbers if number in asked["backing"]]
    text = " ".join(clean(answered["answer"]).split())
    return {"claim": unmask(text, asked["names"]), "evidence": backed, "shown": bool(backed)}
