"""Runs all engines in turns and keeps what they measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import Peer
from processes import EngineError, EngineProcess, TooSlow, machine_busy_seconds
from workloads import Shape

TRIAL_SEED = 10_000
WARM_UP_SEED = 20_000
OTHER_WAY = 1000
"""Between the seeds of ways of driving one engine: it may remember prompts."""
WARM_UP_SCALE = 0.125
LOAD_LIMIT = 600.0
NEAR = 1.15
"""Ways of driving an engine that are not slower than this, beside its best one, are all repeated."""
SETTLING_SECONDS = 0.3
"""Threads that spin after their work have gone to sleep by then."""

Outputs = list[list[list[int]]]


@dataclass(frozen=True)
class Run:
    """One timed run. `others`: part of the machine's cores that everything but this engine used meanwhile; of that,
    `idle` was used by the engines that were waiting.
    """

    variant: str
    seconds: float
    cpu_seconds: float
    others: float
    idle: float


@dataclass
class Cell:
    """One engine and one workload. `trials`: one run for each way of driving; `runs`: of the good ways, in turns."""

    trials: dict[str, Run] = field(default_factory=dict)
    outputs: Outputs | None = None
    """Of the first trial, whose prompts all engines have had."""
    runs: list[Run] = field(default_factory=list)
    error: str = ""
    too_slow: float | None = None
    """The limit in seconds that it did not keep."""

    @property
    def best_trial(self) -> Run | None:
        return min(self.trials.values(), key=lambda run: run.seconds, default=None)

    @property
    def measured(self) -> list[Run]:
        """The repetitions of the way with the lowest median, or the best trial where there are none."""
        ways = [[run for run in self.runs if run.variant == variant] for variant in self.trials]
        if repeated := [runs for runs in ways if runs]:
            return min(repeated, key=lambda runs: statistics.median(run.seconds for run in runs))
        return [self.best_trial] if self.best_trial else []


class Contestant:
    """A peer, its process, and what it is to load. `shapes`: the workloads, and `warm_up`, small ones of the same."""

    def __init__(self, peer: Peer, process: EngineProcess, load: dict[str, Any], shapes: dict[str, Shape]) -> None:
        self.peer, self.process, self._load = peer, process, load
        self.title = peer.name
        self.load_seconds = 0.0
        self.unusable = ""
        self._warm_up = [shape.name for shape in shapes.values() if shape.name.startswith("warm-up")]

    def ready(self) -> bool:
        """Start, load and warm up if that has not been done. False if it failed: `unusable` says why."""
        if self.unusable or self.process.running:
            return not self.unusable
        try:
            self.process.start()
            loaded = self.process.ask({"command": "load", **self._load}, LOAD_LIMIT)
            self.title, self.load_seconds = loaded["name"], loaded["seconds"]
            for name in self._warm_up:
                variant = (self.peer.shared or self.peer.other)[0]
                self.process.ask({"command": "run", "shape": name, "seed": WARM_UP_SEED, "variant": variant},
                                 LOAD_LIMIT)
        except (EngineError, TooSlow) as error:
            self.unusable = str(error)
            self.process.end()
        return not self.unusable


class Comparison:
    """`cells[workload][engine]`. `report` gets a line for each thing that is done."""

    def __init__(self, contestants: list[Contestant], shapes: list[Shape], cores: int,
                 report: Callable[[str], None]) -> None:
        self.contestants, self.shapes, self._cores, self._report = contestants, shapes, cores, report
        self.cells = {shape.name: {contestant.peer.name: Cell() for contestant in contestants} for shape in shapes}

    def load_all(self) -> None:
        """One after another: loading takes all cores."""
        for contestant in self.contestants:
            if contestant.ready():
                self._report(f"{contestant.title}: loaded in {contestant.load_seconds:.1f} s")
            else:
                self._report(f"{contestant.peer.name}: {contestant.unusable}")

    def trial(self, limit: float) -> None:
        """Every way of driving once; those after an engine's first may take three times as long as that."""
        for shape in self.shapes:
            for contestant in self.contestants:
                cell = self.cells[shape.name][contestant.peer.name]
                for number, variant in enumerate(contestant.peer.variants(shape)):
                    best = cell.best_trial
                    allowed = limit if best is None else min(limit, max(5.0, 3 * best.seconds))
                    run = self._run(contestant, shape, variant, TRIAL_SEED + number, allowed, cell)
                    if run is not None:
                        cell.trials[variant] = run

    def repeat(self, repeats: int, slow_factor: float, limit: float) -> None:
        """In turns, the order reversed each time; engines far behind the fastest keep their trial only."""
        for repeat in range(repeats):
            for shape in self.shapes:
                trials = {name: cell.best_trial for name, cell in self.cells[shape.name].items()}
                fastest = min((run.seconds for run in trials.values() if run), default=0.0)
                for contestant in self.contestants[:: -1 if repeat % 2 else 1]:
                    trial = trials[contestant.peer.name]
                    if trial is None or trial.seconds > slow_factor * fastest:
                        continue
                    cell = self.cells[shape.name][contestant.peer.name]
                    near = [run.variant for run in cell.trials.values() if run.seconds <= NEAR * trial.seconds]
                    for number, variant in enumerate(near):
                        run = self._run(contestant, shape, variant, number * OTHER_WAY + repeat, limit, cell)
                        if run is not None:
                            cell.runs.append(run)

    def _run(self, contestant: Contestant, shape: Shape, variant: str, seed: int, limit: float,
             cell: Cell) -> Run | None:
        """One timed run; what fails is noted in the cell, as is an engine with other numbers of tokens."""
        if cell.error:
            return None
        if not contestant.ready():
            cell.error = contestant.unusable
            return None
        idle = [other for other in self.contestants if other is not contestant]
        time.sleep(SETTLING_SECONDS)
        busy, waiting = machine_busy_seconds(), sum(other.process.cpu_seconds() for other in idle)
        own, start = contestant.process.cpu_seconds(), time.perf_counter()
        try:
            answer = contestant.process.ask(
                {"command": "run", "shape": shape.name, "seed": seed, "variant": variant}, limit)
        except TooSlow:
            if not cell.trials:
                cell.too_slow = limit
            self._report(f"{shape.name} {contestant.peer.name} {variant}: more than {limit:.0f} s")
            return None
        except EngineError as error:
            cell.error = str(error)
            self._report(f"{shape.name} {contestant.peer.name} {variant}: {error}")
            return None
        available = (time.perf_counter() - start) * self._cores
        own = contestant.process.cpu_seconds() - own
        busy = machine_busy_seconds() - busy
        waiting = sum(other.process.cpu_seconds() for other in idle) - waiting
        if problem := wrong_counts(shape, answer["outputs"]):
            cell.error = problem
            return None
        if seed == TRIAL_SEED:
            cell.outputs = answer["outputs"]
        run = Run(variant, answer["seconds"], answer["cpu_seconds"], max(0.0, busy - own) / available,
                  waiting / available)
        self._report(f"{shape.name} {contestant.peer.name} {variant}: {run.seconds:.3f} s, "
                     f"cpu/wall {run.cpu_seconds / run.seconds:.2f}, others {run.others:.0%}")
        return run

    def end(self) -> None:
        for contestant in self.contestants:
            contestant.process.end()


def wrong_counts(shape: Shape, outputs: Outputs) -> str:
    """What is wrong with the numbers of rounds, requests or tokens; nothing if they are as the workload says."""
    if len(outputs) != shape.rounds:
        return f"{len(outputs)} rounds instead of {shape.rounds}"
    for part in outputs:
        if len(part) != shape.requests:
            return f"{len(part)} outputs instead of {shape.requests}"
        for output in part:
            if len(output) != shape.outputs:
                return f"an output of {len(output)} tokens instead of {shape.outputs}"
    return ""


def identical(outputs: Outputs, reference: Outputs) -> tuple[int, int]:
    """How many output sequences are the same, of how many."""
    pairs = [(own, other) for part, others in zip(outputs, reference, strict=True)
             for own, other in zip(part, others, strict=True)]
    return sum(own == other for own, other in pairs), len(pairs)


def start(peer: Peer, python: str, peers_directory: Path, load: dict[str, Any], shapes: dict[str, Shape],
          logs: Path) -> Contestant:
    """A contestant whose process has not begun; `logs`: where its messages go."""
    variables = peer.variables(peers_directory, python, load["threads"])
    return Contestant(peer, EngineProcess(peer.command(python), variables, logs / f"{peer.name}.log"), load, shapes)
