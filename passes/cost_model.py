"""What a step of an engine costs: one model for passes, planner, scheduler and `explain`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CostModel:
    """Seconds of one step: `step + prefill_token · prompt tokens + decode_row · rows + kv_token · KV tokens read`.

    `max_batch`: rows of one step; more calls take turns. The defaults describe the embedded model on one CPU core.
    """

    step: float = 1.5e-3
    prefill_token: float = 4e-5
    decode_row: float = 1e-4
    kv_token: float = 5e-8
    max_batch: int = 256

    def prefill_seconds(self, tokens: float) -> float:
        """Seconds for computing prompt tokens, beside the step that computes them."""
        return self.prefill_token * tokens

    def decode_seconds(self, steps: float, rows: float, kv_tokens: float) -> float:
        """Seconds for `steps` steps that decode `rows` rows each over `kv_tokens` resident tokens."""
        turns = max(1.0, rows / self.max_batch)
        return steps * (turns * self.step + self.decode_row * rows + self.kv_token * kv_tokens)
