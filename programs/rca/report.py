"""Reports of investigations: `python -m semlang.programs.rca.report run.json --form markdown|slack|json`.

`write_report` is the last host function of investigate.sem: it puts together what was collected and what a model said
of it, and takes out what no evidence backs. The command line shows the reports in what `semc run --json` printed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .collect import PLAIN_FIELDS
from .masking import unmask
from .outcomes import Outcome, clean
from .verdicts import settle_verdict

Json = Any
VERSION = "1"
"""Of the form of reports; `report.schema.json` describes it."""
SCHEMA = Path(__file__).with_name("report.schema.json")
SECTIONS = ("cause", "contributing_factors", "symptoms", "causal_chain", "alternatives")
"""What the questions of explain.sem are about, in their order."""
KEPT_MASKED = PLAIN_FIELDS | {"category"}
"""Fields that stay as they are: others find things by them."""


WORD = re.compile(r"[^\W\d_]{2}")
"""A claim that has none says nothing."""


class ReportError(ValueError):
    """A file holds no report; one line."""


def write_report(collected: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """`Report` of report.sem, with masked values as they are."""
    backing = {e["id"] for e in collected["evidence"] if e["outcome"] == Outcome.OK}
    claims = Claims({e["id"] for e in collected["evidence"]}, backing)
    sections: dict[str, list[dict[str, Any]]] = {name: [] for name in SECTIONS} | {
        name: claims.read(written, shown)
        for name, written, shown in zip(SECTIONS, said["claims"], said["shown"], strict=False)}
    path = list(dict.fromkeys(number for step in collected["steps"] for number in step["evidence"]
                              if number in backing))
    conclusion = {"claim": collected["conclusion"], "evidence": path, "shown": bool(path)}
    cause = _cause(collected, said, (sections.pop("cause") or [conclusion])[0])
    verdict, contradicted = settle_verdict(said["verdict"], collected["steps"])
    report = {
        "version": VERSION, "ending": _ending(collected, backing, cause),
        "verdict": verdict, "layer": said["layer"],
        **{name: collected[name] for name in ("incident", "reports", "others", "handler")},
        "conclusion": conclusion, "cause": cause, "confidence": said["confidence"], **sections,
        "unsupported": claims.unsupported, "findings": collected["steps"], "evidence": collected["evidence"],
        "outcomes": collected["outcomes"],
        "missing": [*collected["missing"], *map(_cut, filter(_is_cut, collected["evidence"])), *said["problems"],
                    *filter(None, [contradicted])],
        "similar": [{"id": c["id"], "category": c["category"], "similarity": c["similarity"],
                     "chosen": c["letter"] == said["letter"]} for c in said["candidates"]],
        **said["compared"],
        "votes": said["votes"], "next_steps": collected["suggestions"], "checks": claims.checks(), "spent": None,
    }
    shown: dict[str, Any] = unmasked(report, collected["names"])
    return shown


def _is_cut(piece: Mapping[str, Any]) -> bool:
    return "cut" in piece["table"]


def _cut(piece: Mapping[str, Any]) -> str:
    table = piece["table"]
    return (f"{piece['id']} {piece['source']}: only the ends of {table['bytes']} bytes were read, {piece['query']} "
            f"(the whole is snapshot {table['snapshot']})")


def _cause(collected: Mapping[str, Any], said: Mapping[str, Any], statement: Json) -> Json:
    confidence = said["confidence"]
    if confidence is None or confidence["abstain"] or not said["category"] or not statement["evidence"]:
        return None
    incident = collected["incident"]
    return {"category": said["category"], "is_new": said["letter"] == "A", "statement": statement,
            "rationale": clean(said["rationale"]), "component": incident["scope"] or incident["service"],
            "onset": incident["time"]}


def _ending(collected: Mapping[str, Any], backing: set[str], cause: Json) -> str:
    if collected["handler"]["name"] == "no handler" and not collected["evidence"]:
        return "no handler"
    return "nothing collected" if not backing else "cause" if cause else "insufficient evidence"


class Claims:
    """Reads the claims of a model. `known`: numbers of what was collected; `backing`: those with something in it."""

    def __init__(self, known: set[str], backing: set[str]) -> None:
        self.known, self.backing = known, backing
        self.unsupported: list[dict[str, Any]] = []
        self.claims = self.without_evidence = self.not_shown = self.invented = 0

    def read(self, written: Sequence[Json], shown: Sequence[bool]) -> list[dict[str, Any]]:
        """The claims of a section that evidence backs; the others become `unsupported`."""
        kept: list[dict[str, Any]] = []
        for claim, agreed in zip(written, shown, strict=True):
            text = " ".join(clean(claim["claim"]).split())
            if not WORD.search(text):
                continue
            named = [f"E{number}" for number in dict.fromkeys(claim["evidence"])]
            numbers = [number for number in named if number in self.known]
            backed = any(number in self.backing for number in numbers)
            self.claims += 1
            self.invented += len(named) - len(numbers)
            self.without_evidence += not backed
            self.not_shown += backed and not agreed
            statement = {"claim": text, "evidence": numbers, "shown": backed and agreed}
            (kept if statement["shown"] else self.unsupported).append(statement)
        return kept

    def checks(self) -> dict[str, int]:
        """`Checks` of report.sem."""
        return {"claims": self.claims, "without_evidence": self.without_evidence, "not_shown": self.not_shown,
                "invented": self.invented}


def unmasked(value: Json, names: Mapping[str, str]) -> Json:
    """`value` with placeholders in texts as what they stand for, but not in `KEPT_MASKED`."""
    if isinstance(value, str):
        return unmask(value, names)
    if isinstance(value, dict):
        return {key: inner if key in KEPT_MASKED else unmasked(inner, names) for key, inner in value.items()}
    return [unmasked(inner, names) for inner in value] if isinstance(value, list) else value


def write_unreadable(alert: str, problem: str) -> dict[str, Any]:
    """The report of an alert that cannot be read. `alert`: where it stands."""
    incident = {name: "" for name in ("id", "time", "scope", "service", "description", "fingerprint", "source")} | {
        "kind": alert, "title": alert, "severity": "unknown", "status": "firing", "labels": {}}
    collected = {
        "incident": incident, "reports": 0, "others": [], "handler": {"name": "", "rule": "", "version": ""},
        "conclusion": "the alert cannot be read", "steps": [], "evidence": [],
        "outcomes": {str(outcome): 0 for outcome in Outcome}, "missing": [f"{alert}: {problem}"], "suggestions": [],
        "names": {}}
    said: dict[str, Any] = {
        "candidates": [], "category": "", "letter": "", "rationale": "", "votes": {}, "verdict": "unclear",
        "layer": "unclear", "claims": [], "shown": [], "confidence": None,
        "compared": {"unchecked": [], "hypotheses": [], "next_check": ""}, "problems": []}
    return write_report(collected, said) | {"ending": "unreadable alert"}


def reports_in(text: str) -> list[dict[str, Any]]:
    """The reports in what `semc run` printed, with or without `--json`. Raises ReportError.

    With `--json` a report of one incident says what the run took; in a batch only the whole run knows.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"this is no JSON: {error}; give what `semc run investigate.sem --json` printed") from None
    outputs = data["outputs"] if isinstance(data, dict) and "outputs" in data else {"report": data}
    outputs = outputs if isinstance(outputs, dict) else {}
    found = outputs.get("report", outputs.get("reports"))
    reports = [report for report in (found if isinstance(found, list) else [found]) if isinstance(report, dict)]
    if not reports or any(report.get("version") != VERSION for report in reports):
        raise ReportError(f"there is no report of version {VERSION} in this: " + _errors(data))
    needed = json.loads(SCHEMA.read_text(encoding="utf-8"))["required"]
    if lacking := [name for report in reports for name in needed if name not in report]:
        raise ReportError(f"this is no whole report: `{lacking[0]}` is missing")
    stats = data.get("stats")
    if isinstance(stats, dict) and "makespan_s" in stats and len(reports) == 1:
        reports[0]["spent"] = {name: stats[name] for name in (
            "calls", "prompt_tokens", "filled_tokens", "generated_tokens")} | {"seconds": stats["makespan_s"]}
    return reports


def _errors(data: Json) -> str:
    errors = data.get("errors") if isinstance(data, dict) else None
    errors = errors if isinstance(errors, dict) else None
    return "; ".join(error["message"] for error in errors.values()) if errors else "no output `report` or `reports`"


def main(argv: Sequence[str] | None = None) -> int:
    """Show the reports of a run; 2 where there is none."""
    from .report_forms import FORMS

    parser = argparse.ArgumentParser(prog="report", description="Show the reports of investigations.")
    parser.add_argument("file", help="what `semc run investigate.sem --json` printed; - is stdin")
    parser.add_argument("--form", choices=sorted(FORMS), default="markdown",
                        help="slack is a message for each report, as chat.postMessage takes it (default: markdown)")
    arguments = parser.parse_args(argv)
    try:
        text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text(encoding="utf-8")
        shown = FORMS[arguments.form](reports_in(text))
    except (OSError, UnicodeDecodeError, ReportError) as error:
        print(f"error: {arguments.file}: {error}", file=sys.stderr)
        return 2
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # values of other types than the schema says
        print(f"error: {arguments.file}: this is no whole report: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(shown, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
