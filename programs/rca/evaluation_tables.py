"""An evaluation as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .metrics import CONVENTIONS

MEANINGS = {
    "scored": "an incident of a category that never occurred before keeps its label, so nobody is right about it",
    "dropped": "such incidents do not count",
    "class": "for such incidents the right answer is `Unseen incident`",
}


def as_markdown(report: dict[str, Any]) -> str:
    """All tables of a report."""
    lines = [f"{report['incidents']} incidents of {report['categories']} categories, view `{report['view']}`, "
             f"protocol {report['protocol']}: {report['judged']} judged after the first {report['first']}, "
             f"{report['unseen']} of them of a category that had not occurred. Intervals: 95 %, "
             f"{report['bootstrap_samples']} bootstrap samples."]
    lines += ["", *(f"No {name}: {reason}." for name, reason in report["missing"].items())]
    for convention in CONVENTIONS:
        lines += ["", f"**Convention `{convention}`**: {MEANINGS[convention]}.", ""]
        lines += table(("method", "micro F1", "macro F1", "weighted F1"), [
            (name, *(_score(row[convention][kind]) for kind in ("micro", "macro", "weighted")))
            for name, row in report["methods"].items()])
    lines += ["", "**Confidence and time** (convention `class`; risk is the share of wrong answers among the most "
                  "confident).", ""]
    lines += table(("method", "ECE", "area under risk", "risk at 20 %", "50 %", "80 %", "100 %", "training s",
                    "ms an incident", "trained every"), [
        (name, _number(row["ece"]), _number(row["area_under_risk"]), *map(_number, row["risk_at"].values()),
         _plain(row["training_s"]), _plain(row["predicting_ms"]), str(row["refit_every"] or "once"))
        for name, row in report["methods"].items()])
    ceilings = report["ceilings"]
    lines += ["", f"**Ceilings** by {ceilings['vectors']} vectors without decay: the label is among the "
                  f"{ceilings['k']} nearest for {_number(ceilings['plain'])}, among the nearest of {ceilings['k']} "
                  f"distinct categories for {_number(ceilings['distinct'])} of the incidents. α fitted so far: "
                  + ", ".join(f"{alpha} for {count}" for alpha, count in report["fitted_alpha"].items() if count) + "."]
    if "grid" in report:
        lines += ["", "**K × α**, retrieval alone (α per day; convention `scored`).", ""]
        lines += table(("K", "α", "micro F1", "macro F1", "ceiling", "ceiling, distinct"), [
            (str(row["k"]), f"{row['alpha']:g}", *(_number(row[name]) for name in ("micro", "macro", "plain",
                                                                                 "distinct")))
            for row in report["grid"]])
    if "ablation" in report:
        lines += ["", "**Inputs**: the SVM on what parts show (convention `scored`).", ""]
        lines += table(("parts", "micro F1", "macro F1"),
                       [(row["view"], _score(row["micro"]), _score(row["macro"])) for row in report["ablation"]])
    costs = [(name, row["cost"]) for name, row in report["methods"].items() if "cost" in row]
    if costs:
        lines += ["", "**Cost an incident** (summaries apart).", ""]
        names = list(costs[0][1])
        lines += table(("method", *names), [(name, *(f"{cost[key]:.1f}" for key in names)) for name, cost in costs])
    return "\n".join(lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _number(value: float) -> str:
    return f"{value:.3f}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _score(score: dict[str, float]) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
