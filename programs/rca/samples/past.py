"""Writes the history of the samples: `python -m semlang.programs.rca.samples.past --seed 11 --incidents 72`.

Incidents of another seed, all before those of `alerts/`, as handlers see them, each with the category that the
generator gave it. False alarms are not among them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .generate import generate
from .scene import stamp

PROGRAM = Path(__file__).with_name("past.sem")
EARLIER = timedelta(days=120)


def past_incidents(seed: int, incidents: int) -> list[dict[str, Any]]:
    """What `semlang.programs.rca.history` reads, in order of time."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        generate(folder, seed, incidents)
        truths = [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
        truths = [truth for truth in truths if truth["category"] != "false alarm"]
        alerts = [(folder / truth["alert"]).read_text(encoding="utf-8") for truth in truths]
        cases = diagnoses(alerts, str(folder / "telemetry"))
    rows = []
    for number, (truth, case) in enumerate(zip(truths, cases, strict=True), 1):
        time = stamp(datetime.fromisoformat(truth["onset"]) - EARLIER)
        rows.append({"id": f"P-{number:03}", "time": time, "kind": case["kind"], "category": truth["category"],
                     "text": case["text"],
                     "steps": [{"action": step["action"], "result": step["result"]} for step in case["steps"]]})
    return rows


def diagnoses(alerts: list[str], sources: str) -> list[dict[str, Any]]:
    """Kind, diagnosis and path of each alert, by past.sem; no model takes part."""
    from ....backend.executor import run_module
    from ....frontend.compile import compile_file
    from ....ir.target import Target
    from ....passes.manager import run_pipeline
    from ....passes.pipelines import pipeline

    module = compile_file(str(PROGRAM), program="Diagnoses").module
    run_pipeline(module, pipeline(0), Target())
    result = run_module(module, {}, {"alerts": alerts, "sources": sources}).to_json()
    if result["errors"]:
        raise RuntimeError(str(result["errors"]))
    return list(result["outputs"]["diagnoses"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write past incidents for the samples.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("history.jsonl"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--incidents", type=int, default=78)
    options = parser.parse_args()
    rows = past_incidents(options.seed, options.incidents)
    options.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
