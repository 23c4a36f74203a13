"""What a step of an engine costs: one model for passes, planner, scheduler and `explain`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.target import Target


@dataclass(frozen=True)
class CostModel:
    """Seconds of one step: a sum over what the step computes and reads. The defaults are the embedded model's.

    They were fitted on two CPU cores over the loads of `semc profile`, which they meet within 6 % (median); `semc
    profile` fits those of the machine at hand.
    """

    step: float = 1.4e-3
    """A step by itself, of one row."""
    batch: float = 2.9e-4
    """More, for a step of several tokens: products of matrices instead of vectors, several contexts to attend to."""
    prefill_token: float = 3.4e-5
    """A prompt token."""
    decode_row: float = 9.0e-5
    """A row that decodes: its token, and everything that the engine does for it between steps."""
    kv_token: float = 1.9e-7
    """A KV token that decoding rows read. A run that rows of one step share is read once."""
    attention: float = 1.4e-8
    """A pair of a prompt token and a KV token that it attends to."""
    call: float = 5.3e-4
    """A call by itself, beside its steps: options, prompts and results on their way through the executor."""
    max_batch: int = 256
    """Rows of one step; more calls take turns."""
    max_step_tokens: int = 512
    """Tokens of one step; longer prompts take several."""

    def seconds(self, steps: float, prefilled: float, decoded: float, read: float, attended: float = 0.0,
                calls: float = 0.0) -> float:
        """Seconds of `steps` steps that compute and read so many tokens in all, for so many calls.

        As many of the steps as can have several tokens are taken to have them.
        """
        several = min(steps, max(0.0, prefilled + decoded - steps))
        return (self.step * steps + self.batch * several + self.prefill_token * prefilled + self.decode_row * decoded
                + self.kv_token * read + self.attention * attended + self.call * calls)

    def step_seconds(self, prefill_tokens: float, decode_rows: float, kv_read: float, attended: float = 0.0) -> float:
        """Seconds of one step; `kv_read`, `attended`: see `kv_token`, `attention`."""
        return self.seconds(1, prefill_tokens, decode_rows, kv_read, attended)


REFERENCE = CostModel(step=3.9e-5, batch=7.7e-5, prefill_token=1.5e-6, decode_row=4.8e-5, kv_token=6.2e-9,
                      attention=0.0, call=2.4e-4, max_step_tokens=2048)
"""The reference engine on one CPU core, fitted over the same loads, which it meets within 13 % (median)."""


def default_cost_model(engine: str) -> CostModel:
    """The cost model of an engine by its name (`torch`, `torch 2`), as long as nothing was measured on the machine."""
    return REFERENCE if engine.partition(" ")[0] == "reference" else CostModel()


def cost_model_of(target: Target, alias: str = "") -> CostModel:
    """The cost model of the engine that runs the model `alias`: the measured one, or its engine's default."""
    model = target.model(alias)
    costs = model.costs if isinstance(model.costs, CostModel) else default_cost_model(target.engine)
    return limited(costs, model.max_batch, model.max_step_tokens)


def limited(costs: CostModel, max_batch: int | None, max_step_tokens: int | None) -> CostModel:
    """`costs` with an engine's limits, where these are known."""
    return replace(costs, max_batch=max_batch or costs.max_batch,
                   max_step_tokens=max_step_tokens or costs.max_step_tokens)
