"""`place`: over how many engines each group of calls is spread."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from ..ir.core import Module, Op
from ..ir.definition import Level
from ..ir.diagnostics import InputError
from ..ir.target import ModelTarget, Target
from .base import Finding, Pass, Report
from .cost_model import cost_model_of
from .group_calls import GroupCall, GroupCalls
from .placement import EngineLoad, place
from .static_knowledge import StaticKnowledge, static_knowledge

MOST_ENGINES = 10_000


@dataclass(frozen=True)
class Place(Pass):
    """Each group of calls is told over how many engines of its model it is spread.

    Groups of one stage (the same `depth`) are placed together by the policy that places calls in a run, on engines
    that are idle but keep what earlier stages left there. The policy weighs the time that calls wait for one another
    against the time of computing what they share on one more engine: a group that is alone is spread over all engines
    unless its prompts are on some of them already; of several groups, each with a long prefix of its own, each stays
    together. The run keeps to the number, and decides by the same policy which engines these are; groups whose size
    only a run knows are placed there. With one engine for each model there is nothing to decide. `engines` of this
    pass stands in for the target's number of engines; it belongs after `fuse-task-groups`.

    ```before
    sem.program(@Main) |%a: text, %b: text| {
      engine.group(@g0) {objective = latency, size = 2, depth = 0}
      engine.group(@g1) {objective = latency, size = 2, depth = 0}
      %0 = engine.fill(engine.root, "Write as a poet does: ") : ctx
      %1 = engine.fill(engine.root, "Write as a lawyer does: ") : ctx
      %xs, %2 = engine.generate(%0) {output = "x", n = 2, max_tokens = 9, group = @g0} : list<text>, ctx
      %ys, %3 = engine.generate(%1) {output = "y", n = 2, max_tokens = 9, group = @g1} : list<text>, ctx
      sem.return(%xs, %ys) {names = ["xs", "ys"]}
    }
    ```

    ```after engines=2
    sem.program(@Main) |%a: text, %b: text| {
      engine.group(@g0) {objective = latency, size = 2, depth = 0, engines = 1}
      engine.group(@g1) {objective = latency, size = 2, depth = 0, engines = 1}
      %0 = engine.fill(engine.root, "Write as a poet does: ") : ctx
      %1 = engine.fill(engine.root, "Write as a lawyer does: ") : ctx
      %xs, %2 = engine.generate(%0) {output = "x", n = 2, max_tokens = 9, group = @g0} : list<text>, ctx
      %ys, %3 = engine.generate(%1) {output = "y", n = 2, max_tokens = 9, group = @g1} : list<text>, ctx
      sem.return(%xs, %ys) {names = ["xs", "ys"]}
    }
    ```
    """

    name: ClassVar[str] = "place"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.ENGINE})
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths", "plans"})

    engines: int | None = None
    """How many engines run each model; none for what the target says."""
    most_calls: int = 512
    """Stages with more calls are left to the run, as the policy takes time."""

    def __post_init__(self) -> None:
        if self.engines is not None and not 1 <= self.engines <= MOST_ENGINES:
            raise InputError.of("E0923", f"`{self.engines}` is no value for `engines`, which takes an integer from 1 "
                                         f"to {MOST_ENGINES}, or `none`")

    def run(self, module: Module, target: Target) -> Report:
        """Place the groups of every program."""
        widest = max((self._engines(model) for model in target.models.values()), default=self._engines(ModelTarget()))
        for program in module.ops:
            for op in _groups(program):
                op.attributes.pop("engines", None)
        if widest == 1:
            return Report("one engine for each model: nothing to place")
        together = spread = later = 0
        knowledge = static_knowledge(module, target)
        for program in module.ops:
            groups = list(_groups(program))
            if groups:
                placing = _Placing(program, groups, knowledge, target, self)
                placing.run()
                together, spread = together + placing.together, spread + placing.spread
                later += placing.later
        return Report(f"{together} groups stay together on fewer engines than there are, {spread} are spread as far as "
                      f"they go, {later} are left to the run", {"together": together, "spread": spread})

    def _engines(self, model: ModelTarget) -> int:
        return self.engines or model.engines


def _groups(program: Op) -> Iterable[Op]:
    """The groups that a program declares."""
    if program.name != "sem.program":
        return ()
    return (op for op in program.regions[0].ops if op.name == "engine.group")


class _Placing:
    """The groups of one program, the earliest stage first, on engines that remember what was placed there."""

    def __init__(self, program: Op, groups: list[Op], knowledge: StaticKnowledge, target: Target,
                 options: Place) -> None:
        self.together = self.spread = self.later = 0
        self._groups = groups
        self._calls = GroupCalls(program, knowledge)
        self._knowledge = knowledge
        self._target = target
        self._options = options
        self._kept: dict[str, list[dict[Hashable, float]]] = {}
        """For each model and engine the runs of tokens that earlier stages left there."""

    def run(self) -> None:
        """Place everything."""
        for _, stage in groupby(sorted(self._groups, key=_depth, reverse=True), _depth):
            models: dict[str, list[Op]] = {}
            for op in stage:
                if self._calls.members.get(op.symbol):
                    models.setdefault(self._model(op), []).append(op)
            for alias, groups in models.items():
                self._stage(alias, groups)

    def _model(self, group: Op) -> str:
        """The model of a group's calls."""
        first = self._calls.members[group.symbol][0]
        return self._knowledge.lengths.model(first.operands[0]) or ""

    def _stage(self, alias: str, groups: list[Op]) -> None:
        """Place groups of one model that may run at the same time."""
        model = self._target.model(alias)
        number = self._options.engines or model.engines
        counts = {op: self._calls.count(op.symbol) for op in groups}
        known = {op: count for op, count in counts.items() if count}
        self.later += len(groups) - len(known)
        if number == 1 or not known:
            return
        if sum(known.values()) > self._options.most_calls:
            self.later += len(known)
            return
        kept = self._kept.setdefault(alias, [{} for _ in range(number)])
        calls = [(op, call) for op in known for call in self._calls.calls(op.symbol)]
        loads = [EngineLoad(cost_model_of(self._target, alias), model.kv_slots, runs) for runs in kept]
        used = self._place(calls, loads, kept)
        for op, count in known.items():
            op.attributes["engines"] = len(used[op])
            if len(used[op]) < min(number, count):
                self.together += 1
            else:
                self.spread += 1

    @staticmethod
    def _place(calls: list[tuple[Op, GroupCall]], loads: list[EngineLoad],
               kept: list[dict[Hashable, float]]) -> dict[Op, set[int]]:
        """The engines of each group; what their calls leave there is kept."""
        chosen = place([call.waiting for _, call in calls], loads).engines
        used: dict[Op, set[int]] = {}
        for (op, call), engine in zip(calls, chosen, strict=True):
            used.setdefault(op, set()).add(engine)
            kept[engine].update((key, 0.0) for key, _ in call.waiting.prompt)
            kept[engine][call.makes[0]] = 0.0
        return used


def _depth(group: Op) -> int:
    depth = group.attributes.get("depth")
    return depth if isinstance(depth, int) else 0
