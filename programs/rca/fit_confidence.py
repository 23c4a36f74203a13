"""Fit the map of confidence.sem from scores to probabilities on incidents whose causes are known.

    python -m semlang.programs.rca.fit_confidence labelled.jsonl --out calibration.json

A line is an object with `right`, whether the cause turned out to be right, and either `incident`, `evidence` and
`cause`, of which a model is asked, or the scores `sufficient` and `rating` of an earlier run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cli.options import add_models
from ...ir.diagnostics import InputError
from . import metrics
from .calibrate import FEWEST, Calibration, CalibrationError, Scores, fit_calibration
from .embedding import EmbeddingError
from .model_methods import ModelError, ModelRuns

PARTS = 5
"""Of so many parts each is held out once."""
FEWEST_ROWS = -(-FEWEST * PARTS // (PARTS - 1))
PROGRAM = Path(__file__).with_name("confidences.sem")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(prog="fit_confidence", description=(__doc__ or "").split("\n")[0])
    flags.add_argument("labelled", metavar="FILE.jsonl", help="incidents, causes, and whether they were right")
    flags.add_argument("--out", required=True, metavar="FILE.json", help="the calibration that confidence.sem reads")
    flags.add_argument("-n", type=int, default=10, help="samples for each cause (10)")
    flags.add_argument("--threshold", type=float, default=0.5, help="below it there is no answer (0.5)")
    flags.add_argument("--seed", type=int, default=0, help="of the run")
    flags.add_argument("--json", action="store_true", help="print one JSON object")
    add_models(flags)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, write, and print what it is worth; 2 where the input is wrong, 1 where the model's run failed."""
    flags = parser().parse_args(argv)
    try:
        rows = read_rows(flags.labelled)
        right = [bool(row["right"]) for row in rows]
        scores = scores_of(rows, flags)
        Path(flags.out).write_text(fit_calibration(scores, right).to_json() + "\n", encoding="utf-8")
        report = worth(scores, right, flags.threshold)
    except (CalibrationError, EmbeddingError, InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2) if flags.json else as_text(report, flags.out))
    return 0


def read_rows(path: str) -> list[dict[str, Any]]:
    """The lines of a file. Raises CalibrationError with the place of what is wrong."""
    rows = []
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{path} is not UTF-8: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise CalibrationError(f"{path}:{number} is no JSON") from None
        asked, scored = {"incident", "evidence", "cause"}, {"sufficient", "rating"}
        if not isinstance(row, dict) or not isinstance(row.get("right"), bool) or not (
                all(isinstance(row.get(name), str) for name in asked)
                or all(isinstance(row.get(name), int | float) and 0 <= row[name] <= 1 for name in scored)):
            raise CalibrationError(f"{path}:{number} needs `right`, true or false, and texts `incident`, `evidence`, "
                                   "`cause` or numbers `sufficient`, `rating` from 0 to 1")
        rows.append(row)
    if len(rows) < FEWEST_ROWS:
        raise CalibrationError(f"{len(rows)} labelled incidents are too few to calibrate with a part held out; "
                               f"{FEWEST_ROWS} are needed")
    return rows


def scores_of(rows: Sequence[dict[str, Any]], flags: argparse.Namespace) -> list[Scores]:
    """The scores of each row; a model is asked for those that a row does not tell, all in one run."""
    unknown = [row for row in rows if "sufficient" not in row or "rating" not in row]
    given: list[dict[str, Any]] = []
    if unknown:
        proposed = [{name: row[name] for name in ("incident", "evidence", "cause")} for row in unknown]
        given = ModelRuns(flags, file=PROGRAM).run("EstimateAll", "confidences", proposed=proposed, n=flags.n)
    told = iter(given)
    return [(row["sufficient"], row["rating"]) if row not in unknown else _pair(next(told)) for row in rows]


def _pair(confidence: dict[str, Any]) -> Scores:
    return confidence["sufficient"], confidence["rating"]


def worth(scores: Sequence[Scores], right: Sequence[bool], threshold: float) -> dict[str, Any]:
    """Expected calibration error and risk, for scores as they are and for calibrated ones, each held out."""
    raw = _predictions([sufficient * rating for sufficient, rating in scores], right)
    held_out = _predictions(held_out_probabilities(scores, right), right)
    answered = [p for p in held_out if p.confidence >= threshold]
    return {
        "incidents": len(scores), "right": sum(right),
        "ece_raw": metrics.expected_calibration_error(raw), "ece": metrics.expected_calibration_error(held_out),
        "risk_coverage": metrics.risk_coverage(held_out), "area_under_risk": metrics.area_under_risk(held_out),
        "threshold": threshold, "coverage": len(answered) / len(held_out),
        "risk": sum(not p.right for p in answered) / max(len(answered), 1),
    }


def held_out_probabilities(scores: Sequence[Scores], right: Sequence[bool]) -> list[float]:
    """The probability of each incident by a map that was fitted without it; every fifth is held out together."""
    found = [0.0] * len(scores)
    for part in range(PARTS):
        kept = [row for row in range(len(scores)) if row % PARTS != part]
        fitted: Calibration = fit_calibration([scores[row] for row in kept], [right[row] for row in kept])
        for row in range(part, len(scores), PARTS):
            found[row] = fitted.probability(scores[row])
    return found


def _predictions(confidences: Sequence[float], right: Sequence[bool]) -> list[metrics.Prediction]:
    return [metrics.Prediction("right", "right" if one else "wrong", confidence, False)
            for confidence, one in zip(confidences, right, strict=True)]


def as_text(report: dict[str, Any], path: str) -> str:
    """The report in three lines."""
    return "\n".join([
        f"{report['incidents']} incidents, {report['right']} causes right; written to {path}",
        f"expected calibration error {report['ece_raw']:.3f} as it is, {report['ece']:.3f} calibrated (held out)",
        f"at {report['threshold']:g}: {report['coverage']:.0%} answered, {report['risk']:.0%} of them wrong",
    ])


if __name__ == "__main__":
    sys.exit(main())
