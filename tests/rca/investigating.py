"""Runs investigations in this process on the reference engine; the programs are compiled once for a worker."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from running import ROOT
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.executor import run_module
from semlang.backend.reference import reference_runner
from semlang.backend.results import RunResult
from semlang.backend.step_engine import StepEngine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import ModelTarget, Target
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from semlang.programs.rca.report import SCHEMA

RCA = ROOT / "programs" / "rca"
SAMPLES = RCA / "samples"
FIXTURES = ROOT.parent / "shared" / "data" / "incidents" / "holmesgpt-fixtures" / "test_investigate"
TRUTH = [json.loads(line) for line in (SAMPLES / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
CONTEXT = 8192
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


@lru_cache(maxsize=4)
def compiled(name: str, context: int = CONTEXT) -> Module:
    """A program of `programs/rca` at -O1, for an engine whose contexts hold so many tokens."""
    module = compile_file(str(RCA / f"{name}.sem")).module
    run_pipeline(module, pipeline(1), Target({"": ModelTarget(embedded_tokenizer(), CONTEXT)}))
    return module


class WatchedEngine(StepEngine):
    """Remembers what its calls were named and what it was given to read."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.labels: list[str] = []
        self.pieces: list[str] = []

    def fill(self, token_ids: Sequence[int], *given: Any, **options: Any) -> None:
        """See `Engine.fill`."""
        self.pieces.append(self.tokenizer.decode(token_ids))
        super().fill(token_ids, *given, **options)

    def generate(self, *given: Any, label: str = "", **options: Any) -> None:
        """See `Engine.generate`."""
        self.labels.append(label)
        super().generate(*given, label=label, **options)


def run(name: str, arguments: Mapping[str, Any], context: int = CONTEXT, labels: list[str] | None = None,
        pieces: list[str] | None = None) -> RunResult:
    """One run on a fresh engine; the names of its calls are added to `labels`, what it reads to `pieces`."""
    tokenizer = embedded_tokenizer()
    engine = WatchedEngine(reference_runner(tokenizer, context), tokenizer, name="reference", kv_slots=1 << 18)
    try:
        return run_module(compiled(name), {"": engine}, dict(arguments), timeout=240)
    finally:
        engine.close()
        if labels is not None:
            labels += engine.labels
        if pieces is not None:
            pieces += engine.pieces


def investigate(alert: str, sources: str = "", context: int = CONTEXT, **arguments: Any) -> dict[str, Any]:
    """A report, which is valid."""
    given = {"alert": alert, "sources": sources, "n": 2, **arguments}
    result = run("investigate", given, context).to_json()
    assert result["errors"] == {}, result["errors"]
    return valid(result["outputs"]["report"])


def valid(report: Any) -> dict[str, Any]:
    """A report that keeps its schema, and names no evidence that it does not hold."""
    VALIDATOR.validate(report)
    known = {piece["id"]: piece for piece in report["evidence"]}
    sections = ("contributing_factors", "symptoms", "causal_chain", "alternatives")
    statements = [s for name in sections for s in report[name]]
    statements += [report["cause"]["statement"]] if report["cause"] else []
    for statement in statements:
        assert any(known[number]["outcome"] == "ok" for number in statement["evidence"]), statement
    for named in (*report["unsupported"], *report["findings"], report["conclusion"]):
        assert set(named["evidence"]) <= set(known)
    result: dict[str, Any] = report
    return result


def sample(name: str) -> str:
    """The alert of a sample."""
    return (SAMPLES / "alerts" / name).read_text(encoding="utf-8")
