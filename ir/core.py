"""Values, operations, regions and modules: typed SSA with nested regions, one block per region.

Scope is dominance: an operation sees the results of earlier operations of its region and of the
regions around it. `Op.args` mixes values with literals (`prompt.append(%p, "text")`); only values
are operands. Nothing but operands orders execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .source import UNKNOWN, Location
from .types import Type


@dataclass(frozen=True)
class Symbol:
    """`@name`: a function, host, program, type, group or built-in."""

    name: str


@dataclass(frozen=True)
class Word:
    """A bare word, maybe with arguments: `latency`, `deadline(2.0)`."""

    name: str
    arguments: tuple[Literal, ...] = ()


@dataclass(frozen=True)
class TokenList:
    """Constant token ids and the text that they stand for; `scaffold` marks chat-template text."""

    ids: tuple[int, ...]
    text: str
    scaffold: bool = False


@dataclass(frozen=True)
class Root:
    """`engine.root`, the empty context."""


Literal: TypeAlias = (
    "str | int | float | bool | Symbol | Word | TokenList | Root | Type | tuple[Literal, ...] | Table | None"
)


@dataclass(frozen=True)
class Table:
    """A literal map with a fixed order: `{a = 1, b = "x"}`. Keys are any text."""

    entries: tuple[tuple[str, Literal], ...]

    def get(self, key: str) -> Literal:
        """The entry at `key`; None where there is none."""
        return dict(self.entries).get(key)


@dataclass(eq=False, slots=True)
class Value:
    """An SSA value: defined once, by an operation's result or a region's parameter; compares by identity."""

    type: Type
    name: str = ""
    """A hint for the printer, without the percent sign; empty for an unnamed value."""

    def __repr__(self) -> str:
        return f"%{self.name or '_'}: {self.type}"


Arg: TypeAlias = "Value | Literal"


@dataclass(eq=False, slots=True)
class Op:
    """An operation. `name` is `dialect.op`; its definition (`dialects.definition`) gives traits and checks."""

    name: str
    args: list[Arg] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    attributes: dict[str, Literal] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    location: Location = UNKNOWN

    @property
    def operands(self) -> list[Value]:
        """The values among the arguments, in order."""
        return [a for a in self.args if isinstance(a, Value)]

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value

    @property
    def symbol(self) -> str:
        """The name in the first argument, `@name`."""
        first = self.args[0]
        assert isinstance(first, Symbol), f"{self.name} takes a symbol first"
        return first.name


@dataclass(eq=False, slots=True)
class Region:
    """One block: parameters, and operations of which the last is the terminator."""

    parameters: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    @property
    def terminator(self) -> Op:
        """The last operation."""
        return self.ops[-1]


@dataclass(eq=False, slots=True)
class Module:
    """A whole program: declarations (enums, records, hosts), functions and programs, in order."""

    ops: list[Op] = field(default_factory=list)

    def find(self, op_name: str, symbol: str) -> Op | None:
        """The top-level operation `op_name(@symbol)`."""
        return next((op for op in self.ops if op.name == op_name and op.symbol == symbol), None)


def walk(ops: Iterable[Op]) -> Iterator[Op]:
    """Every operation, outer before inner, in textual order. Does not recurse, so depth is not limited."""
    stack = [iter(ops)]
    while stack:
        for op in stack[-1]:
            yield op
            if op.regions:
                stack.extend([iter(region.ops) for region in reversed(op.regions)])
                break
        else:
            stack.pop()


def regions_of(ops: Iterable[Op]) -> Iterator[Region]:
    """Every region inside `ops`, outer before inner."""
    for op in walk(ops):
        yield from op.regions


def use_counts(ops: Iterable[Op]) -> dict[Value, int]:
    """How often each value is an operand anywhere inside `ops`."""
    counts: dict[Value, int] = {}
    for op in walk(ops):
        for value in op.args:
            if isinstance(value, Value):
                counts[value] = counts.get(value, 0) + 1
    return counts


def definitions(ops: Iterable[Op]) -> dict[Value, Op]:
    """The operation that defines each result inside `ops`; region parameters are absent."""
    return {result: op for op in walk(ops) for result in op.results}


def replace_uses(ops: Iterable[Op], replacement: Mapping[Value, Value]) -> None:
    """Replace operands everywhere inside `ops`; chains of replacements are followed. One walk for any number."""
    if not replacement:
        return
    for op in walk(ops):
        if any(isinstance(a, Value) and a in replacement for a in op.args):
            op.args = [resolve(replacement, a) if isinstance(a, Value) else a for a in op.args]


def resolve(replacement: Mapping[Value, Value], value: Value) -> Value:
    """The value that finally stands for `value`."""
    while value in replacement:
        value = replacement[value]
    return value


def clone_region(region: Region, mapping: dict[Value, Value],
                 rename: Callable[[Location], Location] = lambda location: location) -> Region:
    """A deep copy; `mapping` gives what stands for outer values and receives every copied value."""
    parameters = [copy_value(p, mapping) for p in region.parameters]
    return Region(parameters, [clone(op, mapping, rename) for op in region.ops])


def clone(op: Op, mapping: dict[Value, Value],
          rename: Callable[[Location], Location] = lambda location: location) -> Op:
    """A deep copy of an operation under `mapping`, which receives its results."""
    args: list[Arg] = [mapping.get(a, a) if isinstance(a, Value) else a for a in op.args]
    regions = [clone_region(r, mapping, rename) for r in op.regions]
    results = [copy_value(r, mapping) for r in op.results]
    return Op(op.name, args, results, dict(op.attributes), regions, rename(op.location))


def copy_value(value: Value, mapping: dict[Value, Value]) -> Value:
    """A new value of the same type and name, entered into `mapping`."""
    mapping[value] = copied = Value(value.type, value.name)
    return copied


def clone_module(module: Module) -> Module:
    """A deep copy that shares nothing mutable with the original."""
    mapping: dict[Value, Value] = {}
    return Module([clone(op, mapping) for op in module.ops])
