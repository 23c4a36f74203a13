"""What an engine's own process does: it reads commands and writes answers, one JSON object a line.

    {"command": "load", "model": …, "dtype": …, "weights": …, "threads": …, "folder": …,
     "vocabulary": …, "shapes": […]}
        → {"name": …, "seconds": …}
    {"command": "run", "shape": …, "seed": …, "variant": …}
        → {"seconds": …, "cpu_seconds": …, "outputs": [[[ids of a request] … of a round] …]}
    {"command": "quit"}

Whatever fails gives {"error": …}. Answers go where stdout went when the process began; the library's own output on
stdout goes to stderr. Only the standard library is used here, as this file runs in the environment of every peer.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from workloads import Shape, Tokens, Workload, make

PRIMED = "primed"
"""The variant in which an engine is first given what the prompts share."""
KV_BYTES = 2 << 30
"""Memory for KV that each engine with a cache of its own gets."""
MOST_SEQUENCES = 64
STEP_TOKENS = 2048


@dataclass
class Load:
    """What an engine is to load. `folder`: where forms of the model lie that only some peers need."""

    model: str
    dtype: str
    weights: str
    threads: int
    folder: str
    vocabulary: int
    shapes: dict[str, Shape] = field(default_factory=dict)

    @property
    def longest(self) -> int:
        """Tokens of the longest context of all workloads."""
        return max(shape.longest for shape in self.shapes.values())


class Driver(ABC):
    """One engine."""

    @abstractmethod
    def load(self, load: Load) -> str:
        """Get ready; the answer is the engine's name and version. Raises what the engine raises."""

    @abstractmethod
    def prepare(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        """What is to be timed: it runs the workload and gives the outputs, round by round."""

    def finish(self) -> None:  # noqa: B027 - most have nothing to do
        """Called after each run, which may have failed; not timed."""


def run_rounds(workload: Workload, variant: str,
               generate: Callable[[list[Tokens], int], list[Tokens]]) -> list[list[Tokens]]:
    """For engines that find shared prefixes by themselves: `generate` gives outputs for prompts, all at once.

    Primed engines get what prompts share first, level by level, with one output token each.
    """
    shape = workload.shape
    if variant == PRIMED:
        for prefixes in workload.shared_paths():
            generate(prefixes, 1)
    prompts = workload.prompts()
    outputs = [generate(prompts, shape.outputs)]
    for number in range(1, shape.rounds):
        prompts = workload.next_prompts(prompts, outputs[-1], number)
        outputs.append(generate(prompts, shape.outputs))
    return outputs


def serve(driver: Driver, commands: TextIO = sys.stdin, answers: TextIO | None = None) -> None:
    """Answer commands until `quit` or the end of input."""
    if answers is None:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
    load: Load | None = None
    for line in commands:
        command = json.loads(line)
        if command["command"] == "quit":
            return
        try:
            if command["command"] == "load":
                load = _load(command)
                answer = _loaded(driver, load)
            elif load is None:
                raise RuntimeError("`run` before `load`")
            else:
                workload = make(load.shapes[command["shape"]], command["seed"], load.vocabulary)
                answer = _run(driver, workload, command["variant"])
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


def _load(command: dict[str, Any]) -> Load:
    shapes = {}
    for fields in command["shapes"]:
        shape = Shape(**{**fields, "levels": tuple(tuple(level) for level in fields["levels"])})
        shapes[shape.name] = shape
    return Load(command["model"], command["dtype"], command["weights"], command["threads"], command["folder"],
                command["vocabulary"], shapes)


def _loaded(driver: Driver, load: Load) -> dict[str, Any]:
    start = time.perf_counter()
    name = driver.load(load)
    return {"name": name, "seconds": time.perf_counter() - start}


def _run(driver: Driver, workload: Workload, variant: str) -> dict[str, Any]:
    work = driver.prepare(workload, variant)
    try:
        cpu, start = cpu_seconds(), time.perf_counter()
        outputs = work()
        seconds = time.perf_counter() - start
        cpu = cpu_seconds() - cpu
    finally:
        driver.finish()
    return {"seconds": seconds, "cpu_seconds": cpu,
            "outputs": [[[int(token) for token in output] for output in part] for part in outputs]}


def cpu_seconds() -> float:
    """Processor time of this process and its ended children."""
    return sum(usage.ru_utime + usage.ru_stime
               for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
