"""The cost model of the benchmark's engine, measured at the beginning, and what it says that no run could beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semlang.backend.profiling import profile_engine
from semlang.backend.step_engine import StepEngine
from semlang.backend.tokenizer import PieceTokenizer
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.backend.workloads.radix_optimum import Sharing
from semlang.passes.cost_model import CostModel

Call = tuple[Sequence[int], Sequence[int]]
PROFILE_SECONDS = 20.0
KV_SLOTS = 24_576
MAX_BATCH = 64
"""Rows that the profile goes up to; no workload here has more."""


def measured_costs(model: Any, tokenizer: PieceTokenizer) -> CostModel:
    """The costs of the engine at hand."""
    engine = StepEngine(TorchRunner(model), tokenizer, name="torch", kv_slots=KV_SLOTS, max_step_tokens=512,
                        max_batch=MAX_BATCH, prefix_cache=False, speculative_fills=False, trace=True)
    try:
        return profile_engine(engine, seconds=PROFILE_SECONDS).model
    finally:
        engine.close()


def best_seconds(calls: Sequence[Call], sharing: Sharing, costs: CostModel, tokenizer: PieceTokenizer) -> float:
    """Seconds below which no run of `calls` can stay: every token is computed once, in as few steps as can be.

    A call begins after those whose output its prompt holds, so the longest chain of outputs decides how many steps
    there are; prompts fill as few of them as they can. Nothing else waits, and no KV is read.
    """
    generated = sum(len(output) for _, output in calls)
    full_steps = sharing.filled_tokens / costs.max_step_tokens
    return (costs.step * longest_chain(calls, tokenizer) + costs.batch * full_steps
            + costs.prefill_token * sharing.filled_tokens + costs.decode_row * generated)


def longest_chain(calls: Sequence[Call], tokenizer: PieceTokenizer) -> int:
    """Most tokens that have to be generated one after another. `calls`: in the order in which they ended."""
    texts = [(tokenizer.decode(prompt), tokenizer.decode(output).strip()) for prompt, output in calls]
    ends: list[int] = []
    for number, (prompt, _) in enumerate(texts):
        before = [ends[i] for i in range(number) if texts[i][1] in prompt]
        ends.append(len(calls[number][1]) + max(before, default=0))
    return max(ends, default=0)
