"""The cost model of the benchmark's engine, measured at the beginning, and what it says that no run could beat."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from processor_time import ProcessorTimeEngine
from semlang.backend.cost_fit import fit_cost_model
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, SamplingOptions
from semlang.backend.profiling import profile_engine
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.backend.step_engine import StepEngine
from semlang.backend.tokenizer import PieceTokenizer
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.backend.workloads.radix_optimum import Sharing
from semlang.passes.cost_model import CostModel, limited

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


def processor_costs(model: Any, tokenizer: PieceTokenizer) -> CostModel:
    """The same in processor time: from prompts of several lengths, side by side, that decode."""
    engine = ProcessorTimeEngine(TorchRunner(model), tokenizer, VirtualClock(), CostModel(), kv_slots=KV_SLOTS,
                                 max_step_tokens=512, prefix_cache=False)
    generator = random.Random(0)
    context = 1
    try:
        for rows, prompt in [(1, 8), (1, 64), (4, 32), (16, 16), (1, 256), (8, 128), (16, 200), (2, 1024)] * 2:
            ended: list[Generation] = []
            with engine.hold():
                for _ in range(rows):
                    tokens = [generator.randrange(300, tokenizer.vocabulary_size) for _ in range(prompt)]
                    engine.fill(tokens, context, ROOT)
                    engine.generate(SamplingOptions(16, ignore_eos=True), context + 1, context,
                                    Callbacks(ended.append, _raise))
                    context += 2
            while len(ended) < rows:
                engine.clock.advance()
        fit = fit_cost_model(engine.samples[len(engine.samples) // 2 :])
        return limited(fit.model, MAX_BATCH, 512)
    finally:
        engine.close()


def _raise(error: EngineError) -> None:
    raise error


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
