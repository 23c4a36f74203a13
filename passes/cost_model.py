"""What a step of an engine costs: one model for passes, planner, scheduler and `explain`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.target import Target


@dataclass(frozen=True)
class CostModel:
    """Seconds of one step: `step + prefill_token · prompt tokens + decode_row · rows + kv_token · KV tokens read`.

    `max_batch`: rows of one step; more calls take turns. The defaults are those of the embedded model on one CPU
    core, fitted over eleven loads (1 to 32 rows, prompts of 8 to 1,024 tokens), which they meet within 40 %.
    """

    step: float = 4.9e-3
    prefill_token: float = 1.3e-4
    decode_row: float = 4.5e-4
    kv_token: float = 3.3e-6
    max_batch: int = 256

    def seconds(self, steps: float, prefilled: float, decoded: float, read: float) -> float:
        """Seconds of `steps` steps that compute and read so many tokens in all."""
        return self.step * steps + self.prefill_token * prefilled + self.decode_row * decoded + self.kv_token * read

    def step_seconds(self, prefill_tokens: float, decode_rows: float, kv_read: float) -> float:
        """Seconds of one step; `kv_read`: KV tokens that its rows and its prompt tokens attend to, summed."""
        return self.seconds(1, prefill_tokens, decode_rows, kv_read)


REFERENCE = CostModel(step=3.6e-5, prefill_token=1.7e-6, decode_row=5.3e-5, kv_token=7.5e-8)
"""The reference engine on one CPU core, fitted over the same loads, which it meets within 25 %."""


def default_cost_model(engine: str) -> CostModel:
    """The cost model of an engine by its name, as long as nothing was measured on the machine at hand."""
    return REFERENCE if engine == "reference" else CostModel()


def cost_model_of(target: Target, alias: str = "") -> CostModel:
    """The cost model of the engine that runs the model `alias`: the measured one, or its engine's default."""
    model = target.model(alias)
    costs = model.costs if isinstance(model.costs, CostModel) else default_cost_model(target.engine)
    return costs if model.max_batch is None else replace(costs, max_batch=model.max_batch)
