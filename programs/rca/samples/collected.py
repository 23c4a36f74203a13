"""`python -m semlang.programs.rca.samples.collected > incidents.jsonl`: the samples as labelled incidents.

Each is collected by collect.sem from its recording, and becomes a line that `evaluate` reads: what the alert says, what
was collected (diagnostics), what each step of the handler found (actions), and what investigate.sem makes of all that
(diagnosis).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....backend.executor import run_module
from ....frontend.compile import compile_file
from ....ir.target import Target
from ....passes.manager import run_pipeline
from ....passes.pipelines import pipeline
from ..digest import diagnosis_text

SAMPLES = Path(__file__).parent
PROGRAM = """
use "{collect}" as rca

program Batch(alerts: list[text], sources: list[text]) -> results: list[text] {{
  return for alert, source in zip(alerts, sources) {{
    let result = rca.Collect(alert, source)
    yield "${{result}}"
  }}
}}
"""


def collected(folder: Path = SAMPLES) -> list[dict[str, Any]]:
    """The incidents of a folder that `generate` wrote, in the order of time."""
    truths = [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    alerts = [(folder / truth["alert"]).read_text(encoding="utf-8") for truth in truths]
    sources = "" if folder == SAMPLES else str(folder / "telemetry")
    results = collect_all(alerts, [sources] * len(alerts))
    rows = []
    for truth, result in zip(truths, results, strict=True):
        incident = result["incident"]
        rows.append({
            "id": Path(truth["alert"]).stem, "time": truth["onset"], "kind": incident["kind"],
            "category": truth["category"],
            "parts": {"alert": "\n".join([incident["title"], incident["description"]]),
                      "diagnostics": "\n".join(evidence["text"] for evidence in result["evidence"]),
                      "actions": "\n".join(f"{step['action']}: {step['result']}" for step in result["steps"]),
                      "diagnosis": diagnosis_text(incident, result["steps"], result["evidence"],
                                                  result["conclusion"])}})
    return rows


def collect_all(alerts: Sequence[str], sources: Sequence[str]) -> list[dict[str, Any]]:
    """What collect.sem gives for each alert. No model is called. Raises RuntimeError where it fails."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "batch.sem")
        file.write_text(PROGRAM.format(collect=SAMPLES.parent / "collect.sem"), encoding="utf-8")
        module = compile_file(str(file)).module
        run_pipeline(module, pipeline(0), Target())
        result = run_module(module, {}, {"alerts": list(alerts), "sources": list(sources)}).to_json()
    if result["errors"]:
        raise RuntimeError(str(result["errors"]))
    return [json.loads(text) for text in result["outputs"]["results"]]


def main(argv: Sequence[str] | None = None) -> int:
    """Print one incident a line."""
    flags = argparse.ArgumentParser(prog="collected", description=(__doc__ or "").split("\n")[0])
    flags.add_argument("--folder", type=Path, default=SAMPLES, help="what `generate` wrote (default: the samples)")
    for row in collected(flags.parse_args(argv).folder):
        print(json.dumps(row, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
