"""What a run gives: outputs, errors and statistics, and the JSON object that `semc run --json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..ir.rendering import to_json
from ..ir.types import Type
from ..ir.values import Failure, RuntimeValue
from .engine import EngineStats
from .generation import CallRecord


@dataclass(frozen=True)
class RunError:
    """Why an output is missing, or what an effectful host could not do. `location` is `file:line:column`.

    `kind`: see `failures.FailureKind`; `sites`: call chains, innermost site first.
    """

    message: str
    location: str
    kind: str = "error"
    sites: tuple[str, ...] = ()

    @staticmethod
    def of(failure: Failure) -> RunError:
        """The error that a failed value reports."""
        return RunError(failure.message, failure.location, failure.kind, failure.sites)


@dataclass
class RunStats:
    """Counters of one run, summed over its engines. Tokens, KV slots and steps are counted; times are seconds."""

    calls: int = 0
    prompt_tokens: int = 0
    filled_tokens: int = 0
    shared_tokens: int = 0
    generated_tokens: int = 0
    forced_tokens: int = 0
    """Of `generated_tokens`: those without an alternative under a grammar, so that no step had to choose them."""
    engine_steps: int = 0
    peak_kv_tokens: int = 0
    peak_kv_bytes: int = 0
    """What the keys and values of `peak_kv_tokens` take; those that contexts share count once."""
    predicted_peak_kv_tokens: int = 0
    makespan_s: float = 0.0
    predicted_makespan_s: float = 0.0
    predicted_filled_tokens: int = 0
    compile_s: float = 0.0
    """Filled in by whoever compiled the module."""
    host_calls: int = 0
    refilled_tokens: int = 0
    preemptions: int = 0
    early_tokens: int = 0
    """Tokens that were computed before a call needed them."""
    handover_tokens: int = 0
    """Tokens that prompts took over from outputs while these were generated."""
    wasted_tokens: int = 0
    """Tokens handed over that then were not those of the complete text; not all of them were computed."""
    missed_deadlines: dict[str, float] = field(default_factory=dict)
    """Outputs that came after their deadline, and how many seconds after it."""

    def add_engine(self, before: EngineStats, after: EngineStats) -> None:
        """Add what an engine did between two readings, except for its peak."""
        self.prompt_tokens += after.prompt_tokens - before.prompt_tokens
        self.filled_tokens += after.filled_tokens - before.filled_tokens
        self.generated_tokens += after.generated_tokens - before.generated_tokens
        self.forced_tokens += after.forced_tokens - before.forced_tokens
        self.engine_steps += after.engine_steps - before.engine_steps
        self.refilled_tokens += after.refilled_tokens - before.refilled_tokens
        self.preemptions += after.preemptions - before.preemptions
        self.early_tokens += after.early_tokens - before.early_tokens
        self.shared_tokens = self.prompt_tokens - self.filled_tokens

    def to_json(self) -> dict[str, Any]:
        """The counters by name."""
        return dict(vars(self))


@dataclass
class RunResult:
    """Outputs that were delivered, by name; an error for each that was not, and for failed hosts with effects.

    `types`: types of all outputs; `calls`: every generate, where the run records them.
    """

    outputs: dict[str, RuntimeValue] = field(default_factory=dict)
    errors: dict[str, RunError] = field(default_factory=dict)
    stats: RunStats = field(default_factory=RunStats)
    types: dict[str, Type] = field(default_factory=dict)
    calls: list[CallRecord] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "outputs": {name: to_json(value, self.types[name]) for name, value in self.outputs.items()},
            "errors": {n: {"message": e.message, "location": e.location} for n, e in self.errors.items()},
            "stats": self.stats.to_json(),
        }


def collect_errors(names: Iterable[str], failed: Mapping[str, Failure],
                   effects: Iterable[tuple[str, Failure]]) -> dict[str, RunError]:
    """Errors by name: outputs in order, then hosts with effects, as `name`, `name#2`, … in the order of their calls.

    What an output reports already is not repeated. Messages are compared, as merged or moved operations fail once
    where others would fail several times. Hosts are never merged: each call that failed counts.
    """
    errors = {name: RunError.of(failed[name]) for name in names if name in failed}
    by_outputs = {failure.message for failure in failed.values()}
    counts: dict[str, int] = {}
    for host, failure in effects:
        if failure.message in by_outputs:
            continue
        counts[host] = counts.get(host, 0) + 1
        name = host if counts[host] == 1 else f"{host}#{counts[host]}"
        while name in errors or name in names:
            name = "host " + name
        errors[name] = RunError.of(failure)
    return errors
