"""A model runner that keeps time by the cost model: what it computes is another runner's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...passes.cost_model import CostModel
from ..model_runner import ModelRunner, StepBatch


class TimedRunner:
    """Implements `ModelRunner` around `inner`. `seconds`: what the steps so far have taken together.

    `reads_shared_once`: whether a run of KV that several rows read costs one read, as tree attention has it, or one
    for each row, as paged attention does.
    """

    def __init__(self, inner: ModelRunner, costs: CostModel, *, reads_shared_once: bool = True) -> None:
        self._inner = inner
        self._costs = costs
        self._reads_shared_once = reads_shared_once
        self.vocabulary_size = inner.vocabulary_size
        self.context_length = inner.context_length
        self.kernels = f"simulated {inner.kernels}"
        self.kv_bytes_per_token = inner.kv_bytes_per_token
        self.seconds = 0.0
        self.extra_seconds = 0.0
        """What the next step takes beside its own time."""

    def allocate(self, slots: int) -> None:
        """Reserve the KV pool of the inner runner."""
        self._inner.allocate(slots)

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """Compute the step and let its time pass; see `ModelRunner.run`."""
        self.seconds += self._costs.step_seconds(*self._size(batch)) + self.extra_seconds
        self.extra_seconds = 0.0
        return self._inner.run(batch)

    def _size(self, batch: StepBatch) -> tuple[int, int, int, int]:
        """Prompt tokens, decoding rows, KV tokens that these read, and pairs of prompt tokens and what they attend to.

        As `step_plan.step_size` counts them.
        """
        prefill = rows = attended = read = 0
        seen: set[int] = set()
        for segment in batch.segments:
            length, first = len(segment.token_ids), segment.first_position
            if length > 1 or not segment.wants_logits:
                prefill += length
                attended += length * first + length * (length + 1) // 2
                continue
            rows += 1
            read += 1
            if self._reads_shared_once:
                seen.update(segment.ancestors)
            else:
                read += first
        return prefill, rows, read + sum(len(batch.runs[run].slots) for run in seen), attended
