"""`fold`: compute before the run what is known before the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Arg, Module, Op, Region, Value
from ..ir.target import Target
from ..ir.types import EFFECT, Bool, Text
from ..ir.values import RuntimeValue
from .base import Pass, Report
from .constants import UNKNOWN, Constants, constant_op
from .effects import literal_key, names_of
from .failures import Failures
from .free_contexts import place_frees, remove_frees
from .option_folding import fix_call, fix_generate
from .projections import project
from .regions import carried_parameters, effect_operand, first_carried, iterated
from .rewriting import Replacements
from .unrolling import Unroller


@dataclass(frozen=True)
class Fold(Pass):
    """Pure functions of constants, branches on constants and short loops over known lists are computed at once.

    A function is folded when it succeeds on its operands; one that would fail stays, and fails in the run those who
    use it. A part of a record, list or option that was just put together is taken from its source. A `flow.if` on a
    constant becomes the branch that is taken; one whose branches agree becomes what they give, if its condition
    cannot fail. A `flow.for`, `flow.fold` or `flow.loop` with a known number of turns becomes that many copies of its
    body when they are few and small (`unroll`, `operations`); a copy has the index as a constant, so the stream
    keys of its outputs are the same. A text that is known becomes a constant of the append that takes it, as the same
    piece: pieces are never joined, and an empty one goes only where another piece comes before it, because the first
    piece of a prompt may be tokenized differently. Known options of a generate become attributes; one that turns out
    greedy has no stream key.

    ```before
    sem.program(@Main) |%a: text| {
      %two = flow.const(2) : int
      %three = flow.pure(@add, %two, %two) : int
      %big = flow.pure(@gt, %three, %two) : bool
      %0 = prompt.start() : prompt
      %1 = flow.if(%big) {
        %word = flow.const("Shout") : text
        %2 = prompt.append(%0, %word) : prompt
        flow.yield(%2)
      } else {
        flow.yield(%0)
      } : prompt
      %3 = prompt.append(%1, %a) {space = true} : prompt
      %y, %4 = prompt.generate(%3) {output = "y"} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %two = flow.const(2) : int
      %three = flow.const(4) : int
      %big = flow.const(true) : bool
      %0 = prompt.start() : prompt
      %word = flow.const("Shout") : text
      %2 = prompt.append(%0, "Shout") : prompt
      %3 = prompt.append(%2, %a) {space = true} : prompt
      %y, %4 = prompt.generate(%3) {output = "y"} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```

    A loop over a known list, with another limit of operations:

    ```before
    sem.program(@Main) |%a: text, %b: text| {
      %ab = flow.pure(@list, %a, %b) : list<text>
      %ys = flow.for(%ab) |%i: int, %x: text| {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, %x) : prompt
        %y, %2 = prompt.generate(%1, %i) {output = "y", temperature = 1.0, indices = 1, stream = "M/F#0"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```

    ```after operations=10
    sem.program(@Main) |%a: text, %b: text| {
      %ab = flow.pure(@list, %a, %b) : list<text>
      %i = flow.const(0) : int
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %a) : prompt
      %y, %2 = prompt.generate(%1, %i) {output = "y", temperature = 1.0, indices = 1, stream = "M/F#0"} : text, prompt
      %i_1 = flow.const(1) : int
      %3 = prompt.start() : prompt
      %4 = prompt.append(%3, %b) : prompt
      %z, %5 = prompt.generate(%4, %i_1) {output = "y", temperature = 1.0, indices = 1, stream = "M/F#0"} : text, prompt
      %ys = flow.pure(@list, %y, %z) : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```
    """

    name: ClassVar[str] = "fold"

    unroll: int = 8
    """Loops of at most this many turns are unrolled."""
    operations: int = 128
    """The copies of one loop have at most this many operations."""
    constant_size: int = 4096
    """Constants of at most this many characters and elements are computed."""

    def run(self, module: Module, target: Target) -> Report:
        """Fold everything that is known, at any level; contexts are freed anew where they were freed before."""
        had_frees = remove_frees(module.ops)
        folder = Folder(module, self)
        for op in module.ops:
            for region in op.regions:
                folder.fold_region(region)
        folder.replaced.apply(module.ops)
        if had_frees:
            place_frees(module.ops)
        counts = folder.counts
        return Report(
            f"{counts['values']} values computed, {counts['branches']} branches taken, {counts['loops']} loops "
            f"unrolled, {counts['pieces']} pieces and {counts['options']} options made constant", dict(counts))


class Folder:
    """Goes through operations in order with what is known so far; recurses over regions only."""

    def __init__(self, module: Module, options: Fold) -> None:
        self.counts: Counter[str] = Counter()
        self.constants = Constants(options.constant_size)
        self.definitions: dict[Value, Op] = {}
        self.replaced = Replacements()
        self.failures = Failures(module)
        self._unroller = Unroller(self, options.unroll, options.operations)

    def fold_region(self, region: Region) -> None:
        """Fold the operations of a region that stays."""
        folded: list[Op] = []
        self.fold_ops(region.ops, folded)
        region.ops = folded

    def fold_ops(self, ops: Iterable[Op], out: list[Op]) -> None:
        """Fold operations to the end of `out`."""
        for op in ops:
            self.replaced.rewrite(op)
            match op.name:
                case "flow.const":
                    self._keep(op, out)
                    self.constants.define(op)
                case "flow.pure":
                    self._pure(op, out)
                case "flow.if":
                    self._if(op, out)
                case "flow.try":
                    self._try(op, out)
                case "flow.for" | "flow.fold" | "flow.loop":
                    self._loop(op, out)
                case "prompt.append":
                    self._append(op, out)
                case "prompt.generate" | "engine.generate":
                    self.counts["options"] += fix_generate(op, self.constants, self.failures)
                    self._keep(op, out)
                case "sem.call":
                    self.counts["options"] += fix_call(op, self.constants)
                    self._keep(op, out)
                case _:
                    self._keep(op, out)

    def _keep(self, op: Op, out: list[Op]) -> None:
        out.append(op)
        for result in op.results:
            self.definitions[result] = op

    def add_constant(self, value: RuntimeValue, result: Value, like: Op, out: list[Op]) -> Value:
        """Append a `flow.const` that defines `result`."""
        self.fold_ops([constant_op(value, result, like)], out)
        return result

    def as_value(self, arg: Arg, like: Value, op: Op, out: list[Op]) -> Value:
        """An operand as a value of the type of `like`; a literal becomes a constant."""
        if isinstance(arg, Value):
            return self.replaced.find(arg)
        constant = Op("flow.const", [arg], [Value(like.type, like.name)], {}, [], op.location)
        self.fold_ops([constant], out)
        return constant.result

    def _pure(self, op: Op, out: list[Op]) -> None:
        value = self.constants.evaluate(op)
        if value is not UNKNOWN:
            self.counts["values"] += 1
            self.add_constant(value, op.result, op, out)
            return
        projected = project(op, self.definitions, self.failures)
        if projected is None:
            self._keep(op, out)
            return
        self.counts["values"] += 1
        if isinstance(projected, Op):
            self.fold_ops([projected], out)
        else:
            self.replaced.add(op.result, projected)

    def _if(self, op: Op, out: list[Op]) -> None:
        condition = self.constants.get(op.args[0])
        if isinstance(condition, bool):
            self.counts["branches"] += 1
            branch = op.regions[0 if condition else 1]
            self.fold_ops(branch.ops[:-1], out)
            self.bind(op.results, branch.terminator.args, op, out)
            return
        for region in op.regions:
            self.fold_region(region)
        for number, result in enumerate(op.results):
            if result.type != EFFECT:
                self._agreeing(op, number, result, out)
        self._keep(op, out)

    def bind(self, results: Iterable[Value], args: Iterable[Arg], op: Op, out: list[Op]) -> None:
        """Let `args` stand for the results of an operation that went."""
        for result, arg in zip(results, args, strict=True):
            self.replaced.add(result, self.as_value(arg, result, op, out))

    def _agreeing(self, op: Op, number: int, result: Value, out: list[Op]) -> None:
        """Replace a result for which both branches yield the same, or true and false."""
        yielded = [region.terminator.args[number] for region in op.regions]
        known = [self.constants.get(a) for a in yielded]
        condition = op.args[0]
        if isinstance(result.type, Bool) and known[0] is True and known[1] is False and isinstance(condition, Value):
            replacement = condition
        elif not self.failures.never_itself(condition):
            return
        elif yielded[0] is yielded[1] and isinstance(yielded[0], Value):
            replacement = yielded[0]
        elif UNKNOWN not in known and all(isinstance(a, Value) for a in yielded) and self._same_constant(yielded):
            replacement = self.add_constant(known[0], Value(result.type, result.name), op, out)
        else:
            return
        self.counts["branches"] += 1
        self.replaced.add(result, replacement)

    def _same_constant(self, yielded: list[Arg]) -> bool:
        keys = [literal_key(self.definitions[a].args[0]) for a in yielded if isinstance(a, Value)]
        return keys[0] == keys[1]

    def _try(self, op: Op, out: list[Op]) -> None:
        operand = op.args[0]
        if self.constants.get(operand) is UNKNOWN and not self.failures.never(operand):
            self.fold_region(op.regions[0])
            self._keep(op, out)
            return
        self.counts["branches"] += 1
        effect = effect_operand(op)
        self.bind(op.results, [operand, effect][: len(op.results)], op, out)

    def _loop(self, op: Op, out: list[Op]) -> None:
        if self._unroller.unroll(op, out):
            self.counts["loops"] += 1
            return
        if op.name != "flow.for":
            self._fix_unchanged(op)
        for region in op.regions:
            self.fold_region(region)
        self._keep(op, out)

    def _fix_unchanged(self, op: Op) -> None:
        """A carried value that every turn hands on unchanged is its initial value, in the regions and after them."""
        start = first_carried(op)
        runs = op.name == "flow.fold" and all(self.failures.never_itself(a) for a in iterated(op))
        for number, yielded in enumerate(op.regions[-1].terminator.args):
            initial = op.args[start + number]
            parameters = carried_parameters(op, number)
            if not isinstance(initial, Value) or initial.type == EFFECT:
                continue  # an effect is handed on from region to region
            if yielded is parameters[-1] or yielded is initial:
                for parameter in parameters:
                    self.replaced.add(parameter, initial)
                if runs:
                    self.replaced.add(op.results[number], initial)

    def _append(self, op: Op, out: list[Op]) -> None:
        text = self.constants.get(op.args[1])
        if isinstance(op.args[1], Value) and isinstance(op.args[1].type, Text) and isinstance(text, str):
            op.args[1] = (" " if op.attributes.pop("space", False) else "") + text
            self.counts["pieces"] += 1
        if op.args[1] == "" and not op.attributes and self._has_pieces(op.args[0]):
            self.replaced.add(op.result, self.replaced.find(op.operands[0]))
            return
        self._keep(op, out)

    def _has_pieces(self, prompt: Arg) -> bool:
        """Whether a piece certainly comes before the next one."""
        source = self.definitions.get(prompt) if isinstance(prompt, Value) else None
        if source is None:
            return False
        if source.name == "prompt.generate":  # with `n` its prompt is the one before the samples
            return "n" not in source.attributes and "n" not in names_of(source.attributes.get("options"))
        return source.name in ("prompt.append", "prompt.role")
