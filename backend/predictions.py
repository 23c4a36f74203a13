"""What a run was expected to take, with everything that is known when it has ended but how long its outputs were."""

from __future__ import annotations

from .engine import Engine
from .engine_costs import costs_of
from .replay import ReplayedEngine, replay
from .results import RunStats
from .run import Run
from .step_engine import StepEngine


def predict(run: Run, stats: RunStats) -> None:
    """Fill in the predictions: from a replay of the run's requests, or from the plan where these cannot be replayed."""
    engines = [replayed(binding.engine) for binding in run.bindings]
    known = [engine for engine in engines if engine is not None]
    found = replay(run.log, known) if run.log.is_complete and len(known) == len(engines) else None
    if found is not None:
        stats.predicted_makespan_s = found.makespan_s
        stats.predicted_filled_tokens = found.filled_tokens
        stats.predicted_peak_kv_tokens = found.peak_kv_tokens
        return
    forecast = run.plan.forecast()
    stats.predicted_makespan_s = forecast.makespan_s
    stats.predicted_filled_tokens = forecast.filled_tokens
    stats.predicted_peak_kv_tokens = forecast.peak_kv_tokens


def replayed(engine: Engine) -> ReplayedEngine | None:
    """What a replay needs to know of an engine; None for engines that do not say it."""
    if not isinstance(engine, StepEngine):
        return None
    return ReplayedEngine(costs_of(engine), engine.kv_slots, engine.prefix_cache,
                          0 if engine.tokenizer.bos_id is None else 1)
