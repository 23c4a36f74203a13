"""Compiled workloads compute exactly the prompt tokens that a perfect radix tree over their prompts would compute."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.executor import RunHandle, RunOptions
from semlang.backend.reference import reference_runner
from semlang.backend.step_engine import StepEngine
from semlang.backend.workloads.catalogue import WORKLOADS
from semlang.backend.workloads.radix_optimum import Sharing, radix_optimum
from semlang.frontend.compile import compile_file
from semlang.ir.target import ModelTarget, Target
from semlang.passes.inline import Inline
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline

CONTEXT, KV_SLOTS = 16_384, 1 << 16


def run(engine: StepEngine, path: str, program: str, arguments: dict[str, Any]) -> list[tuple[Sequence[int], Any]]:
    """Compile and run a program; prompt and output of every call."""
    unit = compile_file(path, program=program)
    passes = [replace(p, program=unit.root) if isinstance(p, Inline) else p for p in pipeline(2)]
    run_pipeline(unit.module, passes, Target({"": ModelTarget(engine.tokenizer, CONTEXT, KV_SLOTS)}, "reference"))
    handle = RunHandle(unit.module, {"": engine}, arguments, RunOptions(record_calls=True, ignore_eos=True))
    result = handle.run()
    assert result.ok, result.errors
    return [(call.prompt_ids, call.output_ids) for call in result.calls]


@pytest.mark.parametrize("name", ["chain", "map-reduce", "copilot", "gpts", "multi-agent"])
@pytest.mark.parametrize("step_tokens", [16, 2048])
def test_workloads_share_all_that_can_be_shared(name: str, step_tokens: int) -> None:
    tokenizer = embedded_tokenizer()
    workload = WORKLOADS[name](tokenizer, scale=0.03, width=0.15)
    engine = StepEngine(reference_runner(tokenizer, CONTEXT), tokenizer, name="reference", kv_slots=KV_SLOTS,
                        max_step_tokens=step_tokens)
    try:
        calls = [call for application in workload.applications
                 for call in run(engine, str(workload.path), application.program, application.arguments)]
        optimum = radix_optimum(calls)
        assert engine.stats().prompt_tokens == optimum.prompt_tokens
        assert engine.stats().filled_tokens == optimum.filled_tokens
        assert optimum.share > 0.2
    finally:
        engine.close()


def test_the_optimum_of_known_prompts() -> None:
    assert radix_optimum([]) == Sharing(0, 0)
    assert radix_optimum([([1, 2, 3], [9]), ([1, 2, 4], [9]), ([1, 2, 3], [8])]) == Sharing(9, 4)
    # What was generated is not computed again, but for the last token of an output, which was never fed.
    assert radix_optimum([([1, 2], [3, 4, 5]), ([1, 2, 3, 4, 5, 6], [7])]) == Sharing(8, 4)
    assert radix_optimum([([1, 2], [3, 4, 5]), ([1, 2, 3, 7], [8])]).share == 0.5
