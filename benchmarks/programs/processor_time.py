"""An engine whose clock is the processor time of the thread that drives it: other load on the machine does not count.

Everything runs in one thread: clients or programs, the engine between steps, and the steps of the real model. So
unlike on an ordinary engine nothing overlaps. Round trips and arrivals pass in virtual time.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from semlang.backend.cost_fit import Sample
from semlang.backend.model_runner import ModelRunner, StepBatch
from semlang.backend.simulate.engine import SimulatedEngine
from semlang.backend.simulate.runner import TimedRunner
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.backend.tokenizer import PieceTokenizer
from semlang.passes.cost_model import CostModel


class MeasuredRunner(TimedRunner):
    """Adds to each step the processor seconds since the end of the step before it."""

    def __init__(self, inner: ModelRunner, costs: CostModel) -> None:
        super().__init__(inner, costs)
        self._before = time.thread_time()
        self.model_seconds = 0.0
        self.samples: list[Sample] = []

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """See `ModelRunner.run`."""
        began = time.thread_time()
        logits = self._inner.run(batch)
        now = time.thread_time()
        self.seconds += now - self._before
        self.model_seconds += now - began
        prefill, rows, read, attended = self._size(batch)
        self.samples.append(Sample(f"{prefill > 0}, {rows} rows", prefill, rows, read, attended, now - self._before))
        self._before = now
        return logits


class ProcessorTimeEngine(SimulatedEngine):
    """A step engine in processor time; `overhead`: the part of it that was not spent in the model."""

    def __init__(self, runner: ModelRunner, tokenizer: PieceTokenizer, clock: VirtualClock, costs: CostModel,
                 **options: Any) -> None:
        super().__init__(runner, tokenizer, clock, costs, **options)
        self._measured = self._timed = self._runner = MeasuredRunner(runner, costs)

    @property
    def samples(self) -> list[Sample]:
        """What the steps so far computed and took."""
        return self._measured.samples

    @property
    def overhead(self) -> float:
        """Between 0 and 1."""
        return 1.0 - self._measured.model_seconds / self._measured.seconds
