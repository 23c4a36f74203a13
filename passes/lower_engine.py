"""`lower-engine`: prompts to contexts on an engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Arg, Literal, Module, Op, Region, Root, Table, Value, Word, regions_of, use_counts, walk
from ..ir.definition import Level
from ..ir.target import Target
from ..ir.types import CTX, Field, List, Map, Option, Prompt, Record, Type
from .base import Finding, Pass, Report
from .early_values import EarlyValues
from .shared_tokens import note_sharing


@dataclass(frozen=True)
class LowerEngine(Pass):
    """`prompt` operations become `engine` operations, and appends that nobody else continues become one fill.

    The pieces of a fill are tokenized one by one, as before, and stand in the order of the appends, so a context has
    the tokens that the prompt had. Appends are joined when nothing is lost by it: each but the last has one use,
    which is the next append in the same region, and no known piece has to wait for a value. So a constant joins what
    stands before it, and a value that is known only in the middle of the run begins a fill of its own: the constants
    before it are prefilled while it is computed. Roles that are known in the run only become pieces `role(name)`. A
    fill that several contexts continue says how many (`shared`); a loop that it is outside of counts as two at least.

    ```before
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, tokens<2 : "To" : [84, 111]>) : prompt
      %2 = prompt.append(%1, %a) {space = true} : prompt
      %x, %3 = prompt.generate(%2) {output = "x"} : text, prompt
      %4 = prompt.append(%3, tokens<1 : "\\n" : [10]>) : prompt
      %5 = prompt.append(%4, %x) : prompt
      %6 = prompt.append(%5, tokens<1 : ":" : [58]>) : prompt
      %y, %7 = prompt.generate(%6) {output = "y"} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %2 = engine.fill(engine.root, tokens<2 : "To" : [84, 111]>, %a) {spaced = [1]} : ctx
      %x, %3 = engine.generate(%2) {output = "x"} : text, ctx
      %4 = engine.fill(%3, tokens<1 : "\\n" : [10]>) : ctx
      %6 = engine.fill(%4, %x, tokens<1 : ":" : [58]>) : ctx
      %y, %7 = engine.generate(%6) {output = "y"} : text, ctx
      sem.return(%y) {names = ["y"]}
    }
    ```
    """

    name: ClassVar[str] = "lower-engine"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.PROMPT})
    gives: ClassVar[Level | None] = Level.ENGINE
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths"})

    join: bool = True
    """Whether appends are joined."""

    def run(self, module: Module, target: Target) -> Report:
        """Lower every operation and every type."""
        uses = use_counts(module.ops)
        early = EarlyValues(module) if self.join else None
        starts = {op.result: op for op in walk(module.ops) if op.name == "prompt.start"}
        appends = sum(_lower_region(region, starts, uses, early) for region in regions_of(module.ops))
        unused = {op for op in starts.values() if uses.get(op.result, 0) == 0}
        for region in regions_of(module.ops) if unused else []:
            region.ops = [op for op in region.ops if op not in unused]
        _lower_types(module.ops)
        fills = sum(op.name == "engine.fill" for op in walk(module.ops))
        shared = sum(note_sharing(op) for op in module.ops if op.regions)
        return Report(f"{appends} starts, appends and roles became {fills} fills, {shared} of them shared",
                      {"appends": appends})


def _lower_region(region: Region, starts: dict[Value, Op], uses: dict[Value, int], early: EarlyValues | None) -> int:
    """Lower the operations of one region; how many of them became (parts of) fills."""
    lowered: list[Op] = []
    fills: dict[Value, Op] = {}
    joined: set[Op] = set()
    count = 0
    for op in region.ops:
        if op.name == "prompt.generate":
            op.name = "engine.generate"
        elif op.name in ("prompt.start", "prompt.append", "prompt.role"):
            count += 1
            _lower_to_fill(op, starts, uses)
            before = fills.get(op.args[0]) if isinstance(op.args[0], Value) else None
            if before is not None and early is not None and _may_join(before, op, uses, early):
                _join(before, op)
                joined.add(before)
            fills[op.result] = op
        lowered.append(op)
    region.ops = [op for op in lowered if op not in joined]
    return count


def _lower_to_fill(op: Op, starts: dict[Value, Op], uses: dict[Value, int]) -> None:
    """A fill of at most one piece. What continues an empty prompt, wherever that was made, starts at the root."""
    attributes: dict[str, Literal] = {}
    start = starts.get(op.args[0]) if op.args and isinstance(op.args[0], Value) else None
    if start is not None:
        uses[start.result] -= 1
        op.args[0] = Root()
    source = op if op.name == "prompt.start" else start
    if source is not None and "model" in source.attributes:
        attributes["model"] = source.attributes["model"]
    match op.name:
        case "prompt.start":
            op.args = [Root()]
        case "prompt.append":
            if op.attributes.get("space"):
                attributes["spaced"] = (0,)
            if "role" in op.attributes:
                attributes["roles"] = (op.attributes["role"],)
        case "prompt.role":
            op.args.append(Word("role", (op.attributes["role"],)))
    op.name, op.attributes = "engine.fill", attributes


def _may_join(before: Op, op: Op, uses: dict[Value, int], early: EarlyValues) -> bool:
    """Whether `op`, a fill of one piece, may be made together with the fill before it."""
    if uses.get(before.result, 0) != 1:
        return False
    piece = op.args[1]
    return len(before.args) == 1 or not isinstance(piece, Value) or piece in early


def _join(before: Op, op: Op) -> None:
    """Put the pieces of `before` in front of that of `op`. The list of arguments grows in place."""
    piece = len(before.args) - 1
    spaced, roles = before.attributes.get("spaced", ()), before.attributes.get("roles", ())
    assert isinstance(spaced, tuple) and isinstance(roles, tuple)
    if "spaced" in op.attributes:
        spaced = (*spaced, piece)
    own_roles = op.attributes.get("roles", ())
    assert isinstance(own_roles, tuple)
    before.args.append(op.args[1])
    op.args = before.args
    op.attributes = {k: v for k, v in before.attributes.items() if k not in ("spaced", "roles")}
    if spaced:
        op.attributes["spaced"] = spaced
    if roles or own_roles:
        op.attributes["roles"] = (*roles, *own_roles)


def _lower_types(ops: Iterable[Op]) -> None:
    """Prompts in the types of values and in declared records become contexts."""
    known: dict[Type, Type] = {}
    for op in walk(ops):
        for value in (*op.results, *(p for region in op.regions for p in region.parameters)):
            value.type = _lowered(value.type, known)
        for name, literal in op.attributes.items():
            if isinstance(literal, Type):
                op.attributes[name] = _lowered(literal, known)
            elif op.name in ("sem.record", "sem.host") and isinstance(literal, Table):
                op.attributes[name] = Table(tuple((k, _in_table(v, known)) for k, v in literal.entries))


def _in_table(literal: Arg, known: dict[Type, Type]) -> Literal:
    assert not isinstance(literal, Value)
    return _lowered(literal, known) if isinstance(literal, Type) else literal


def _lowered(type: Type, known: dict[Type, Type]) -> Type:
    """`type` with contexts for prompts."""
    found = known.get(type)
    if found is None:
        match type:
            case Prompt():
                found = CTX
            case List(element, maximum):
                found = List(_lowered(element, known), maximum)
            case Option(element):
                found = Option(_lowered(element, known))
            case Map(element):
                found = Map(_lowered(element, known))
            case Record(name, fields):
                found = Record(name, tuple(Field(f.name, _lowered(f.type, known)) for f in fields))
            case _:
                found = type
        known[type] = found
    return found
