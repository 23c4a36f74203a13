"""What the steps of a given engine cost, as far as it is known."""

from __future__ import annotations

from ..passes.cost_model import CostModel, default_cost_model, limited
from .engine import Engine


def costs_of(engine: Engine) -> CostModel:
    """The measured cost model of `engine`, or the shipped one of its kind, with its own limits where it states them."""
    measured = getattr(engine, "costs", None)
    costs = measured if isinstance(measured, CostModel) else default_cost_model(engine.name)
    return limited(costs, getattr(engine, "max_batch", None), getattr(engine, "max_step_tokens", None))
