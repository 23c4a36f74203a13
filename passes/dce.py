"""`dce`: drop what no result and no effect needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module, Op, Region, Value, walk
from ..ir.target import Target
from ..ir.types import EFFECT
from .base import Pass, Report
from .effects import GENERATES, REGION_OPS, Contents, names_of
from .free_contexts import place_frees, remove_frees
from .liveness import Liveness
from .regions import carried_parameters, effect_operand, first_carried
from .rewriting import Replacements


@dataclass(frozen=True)
class Dce(Pass):
    """Operations, results and carried values that nothing needs are dropped.

    What is needed is found backwards from what a program returns and from its effectful hosts, through operands and
    through the borders of regions: a result of a region operation needs what the regions yield for it and what
    decides whether they run; a value carried by a fold or loop is needed when it is used after it or by something
    needed inside it, not when it only feeds itself. So a dead call in a live loop goes, and the last outputs of a
    prompt go from its tail when nobody uses them, while those in its middle stay for the tokens after them. An effect
    that passes through an operation whose regions run no effectful host goes around it, and the operation may go.

    The live outputs keep all their operands, so their tokens, keys and failures stay; failures on which nothing
    depends are not reported at any level.

    ```before
    sem.program(@Main) |%xs: list<text>| {
      %unused = flow.pure(@len, %xs) : int
      %a = flow.const("a") : text
      %0 = prompt.start() : prompt
      %last, %chat = flow.fold(%xs, %a, %0) |%i: int, %x: text, %old: text, %p: prompt| {
        %1 = prompt.start() : prompt
        %2 = prompt.append(%1, %x) : prompt
        %y, %3 = prompt.generate(%2) {output = "y"} : text, prompt
        %4 = prompt.append(%p, %old) : prompt
        flow.yield(%y, %4)
      } : text, prompt
      sem.return(%last) {names = ["last"]}
    }
    ```

    ```after
    sem.program(@Main) |%xs: list<text>| {
      %a = flow.const("a") : text
      %last = flow.fold(%xs, %a) |%i: int, %x: text, %old: text| {
        %1 = prompt.start() : prompt
        %2 = prompt.append(%1, %x) : prompt
        %y, %3 = prompt.generate(%2) {output = "y"} : text, prompt
        flow.yield(%y)
      } : text
      sem.return(%last) {names = ["last"]}
    }
    ```

    An effect goes around a branch that never uses it:

    ```before
    sem.host(@note) {target = "m:note", parameters = {x = !text}}
    sem.program(@Main) |%a: text, %c: bool, %e: effect| {
      %unused, %e1 = flow.if(%c, %e) {
        flow.yield(%a, %e)
      } else {
        %b = flow.pure(@upper, %a) : text
        flow.yield(%b, %e)
      } : text, effect
      %e2 = flow.host(@note, %a, %e1) : effect
      sem.return(%e2) {names = []}
    }
    ```

    ```after
    sem.host(@note) {target = "m:note", parameters = {x = !text}}
    sem.program(@Main) |%a: text, %c: bool, %e: effect| {
      %e2 = flow.host(@note, %a, %e) : effect
      sem.return(%e2) {names = []}
    }
    ```
    """

    name: ClassVar[str] = "dce"

    def run(self, module: Module, target: Target) -> Report:
        """Drop everything that is dead, at any level; contexts are freed anew where they were freed before."""
        had_frees = remove_frees(module.ops)
        contents = Contents.of(module.ops)
        _forward_effects(module, contents)
        sweep = _Sweep(Liveness(module.ops, contents), contents)
        sweep.run(module)
        if had_frees:
            place_frees(module.ops)
        return Report(f"{sweep.dropped} operations dropped, {sweep.generates} of them generates",
                      {"operations": sweep.dropped - sweep.generates, "generates": sweep.generates,
                       "results": sweep.results})


def _forward_effects(module: Module, contents: Contents) -> None:
    """An effect result that is the effect operand on every path is replaced by it."""
    replaced = Replacements()
    for op in reversed(list(walk(module.ops))):  # inner operations first
        if op.name in REGION_OPS and op not in contents.effectful:
            for number, result in enumerate(op.results):
                source = _passed_effect(op, number, replaced) if result.type == EFFECT else None
                if source is not None:
                    replaced.add(result, source)
    replaced.apply(module.ops)


def _passed_effect(op: Op, number: int, replaced: Replacements) -> Value | None:
    """The effect operand that result `number` is on every path; None where it may be another effect."""
    if op.name in ("flow.fold", "flow.loop"):
        source = op.args[first_carried(op) + number]
        same = carried_parameters(op, number)
        yields = [op.regions[-1].terminator.args[number]]
    else:
        source = effect_operand(op)
        same = op.regions[0].parameters[-1:] if op.name == "flow.for" else []
        yields = [region.terminator.args[number] for region in op.regions]
    if not isinstance(source, Value):
        return None
    for yielded in yields:
        assert isinstance(yielded, Value)
        found = replaced.find(yielded)
        if found not in same and found is not replaced.find(source):
            return None
    for parameter in same:
        if parameter.type == EFFECT:
            replaced.add(parameter, source)
    return source


@dataclass
class _Sweep:
    """Removes what is not live, region by region."""

    live: Liveness
    contents: Contents
    dropped: int = 0
    generates: int = 0
    results: int = 0

    def run(self, module: Module) -> None:
        """Sweep every region of the module."""
        stack = [region for op in module.ops for region in op.regions]
        while stack:
            region = stack.pop()
            kept: list[Op] = []
            for op in region.ops[:-1]:
                if op in self.live.ops:
                    kept.append(op)
                    self._narrow(op)
                    stack.extend(op.regions)
                else:
                    self._count(op)
            region.ops = [*kept, region.terminator]

    def _count(self, dropped: Op) -> None:
        for op in walk([dropped]):
            if op.name != "flow.yield":
                self.dropped += 1
                self.generates += op.name in GENERATES

    def _narrow(self, op: Op) -> None:
        """Take dead results from a live operation, with what yields and carries them."""
        match op.name:
            case "flow.if" | "flow.for":
                self._narrow_yields(op)
            case "flow.try":
                self._narrow_try(op)
            case "flow.fold" | "flow.loop":
                self._narrow_carried(op)
            case "prompt.generate" | "engine.generate":
                self._narrow_generate(op)

    def _keep(self, op: Op, kept: list[int]) -> None:
        """Keep these results and what the last region (or each branch) yields for them."""
        self.results += len(op.results) - len(kept)
        op.results = [op.results[n] for n in kept]
        for region in op.regions[1:] if op.name == "flow.loop" else op.regions:
            region.terminator.args = [region.terminator.args[n] for n in kept]

    def _narrow_yields(self, op: Op) -> None:
        kept = [n for n, result in enumerate(op.results) if result in self.live.values]
        had_effect = bool(op.results) and op.results[-1].type == EFFECT
        if len(kept) < len(op.results):
            self._keep(op, kept)
        if had_effect and not (op.results and op.results[-1].type == EFFECT):
            self._drop_effect(op)

    def _drop_effect(self, op: Op) -> None:
        if effect_operand(op) is not None:
            op.args.pop()
            if op.name == "flow.for":
                op.regions[0].parameters.pop()

    def _narrow_try(self, op: Op) -> None:
        """The value of a `flow.try` stays as its operand stays; where it is dead the region yields the operand."""
        region: Region = op.regions[0]
        if op.results[0] not in self.live.values:
            region.terminator.args[0] = op.args[0]
        if len(op.results) > 1 and op.results[1] not in self.live.values:
            self._keep(op, [0])
            self._drop_effect(op)

    def _narrow_carried(self, op: Op) -> None:
        kept = [n for n in range(len(op.results)) if self.live.carries(op, n)]
        if len(kept) == len(op.results):
            return
        start = first_carried(op)
        for number in reversed(range(len(op.results))):
            if number not in kept:
                for region, parameter in zip(op.regions, carried_parameters(op, number), strict=True):
                    region.parameters.remove(parameter)
        op.args = op.args[:start] + [op.args[start + n] for n in kept]
        self._keep(op, kept)

    def _narrow_generate(self, op: Op) -> None:
        """Log-probabilities that nobody reads are not asked for."""
        dead = len(op.results) == 3 and op.results[2] not in self.live.values
        if dead and "logprobs" in op.attributes and "logprobs" not in names_of(op.attributes.get("options")):
            del op.attributes["logprobs"]
            op.results.pop()
            self.results += 1
