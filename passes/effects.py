"""What operations may do: who runs calls, who is ordered by effects, and which results are the same value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..ir.core import Arg, Literal, Op, Root, Symbol, Table, TokenList, Value, Word, walk
from ..ir.definition import Trait
from ..ir.dialects import DEFINITIONS
from ..ir.types import EFFECT, Type

GENERATES = frozenset({"prompt.generate", "engine.generate"})
CALLS = GENERATES | {"flow.host", "sem.call"}
"""Operations that spend what cannot be had back: none may run where it would not run at -O0."""
REGION_OPS = frozenset({"flow.for", "flow.fold", "flow.if", "flow.loop", "flow.try"})
UNCOMPARED = {name: frozenset(a.name for a in definition.attributes if not a.merge)
              for name, definition in DEFINITIONS.items()}
"""For each operation the attributes in which equal ones may differ."""
STREAM_KEY = frozenset({"seed", "stream"})
PURE = frozenset(name for name, definition in DEFINITIONS.items() if Trait.PURE in definition.traits)
MERGEABLE = PURE | GENERATES
ORDERING = frozenset({"flow.host", "sem.call", "engine.group"})


def orders_effects(op: Op) -> bool:
    """Whether `op` itself acts on the world: a host that is not pure, or a call of a program with such a host.

    A pure host has no effect result; `engine.group` declares, and stays for that.
    """
    if op.name not in ORDERING:  # nearly all of them
        return False
    return op.name == "engine.group" or any(r.type == EFFECT for r in op.results)


def is_greedy(op: Op) -> bool:
    """Whether a generate decodes greedily for certain: temperature 0 or absent, and not an operand."""
    options = op.attributes.get("options") or ()
    return not op.attributes.get("temperature") and not (isinstance(options, tuple) and "temperature" in options)


def mergeable(op: Op) -> bool:
    """Whether two operations like `op` with equal keys (`merge_key`) and operands give the same results.

    Pure operations do. A generate does too: a greedy one is a function of its context and options, and a sampled
    one is a function of these and of its stream key, which is made of operands and attributes.
    """
    return op.name in MERGEABLE


def merge_key(op: Op) -> tuple[object, ...]:
    """What two operations must have in common, operands apart, to be the same: name, literals, attributes, types."""
    literals = tuple([None if isinstance(a, Value) else literal_key(a) for a in op.args])
    return op.name, literals, attributes_key(op), tuple([r.type for r in op.results])


def attributes_key(op: Op) -> tuple[object, ...]:
    """What the attributes of two operations must have in common for these to be the same."""
    attributes = op.attributes
    if not attributes:
        return ()
    uncompared = UNCOMPARED[op.name]
    if op.name in GENERATES and is_greedy(op):
        uncompared |= STREAM_KEY
    return tuple(sorted([(name, literal_key(literal)) for name, literal in attributes.items()
                         if name not in uncompared]))


def literal_key(literal: Arg) -> object:
    """A hashable key that keeps 1, 1.0 and true, and 0.0 and -0.0, apart."""
    if isinstance(literal, str):  # nearly all of them
        return literal
    match literal:
        case bool() | int():
            return type(literal).__name__, literal
        case float():
            return "float", literal.hex()
        case tuple():
            return "list", tuple(map(literal_key, literal))
        case Table(entries):
            return "table", tuple((k, literal_key(v)) for k, v in entries)
        case Word(name, arguments):
            return "word", name, tuple(map(literal_key, arguments))
        case None | Symbol() | TokenList() | Root() | Type():
            return literal
    raise TypeError(f"no literal: {literal!r}")


def names_of(literal: Literal) -> tuple[str, ...]:
    """The texts of an attribute like `options`; empty where it is absent."""
    return tuple(n for n in literal if isinstance(n, str)) if isinstance(literal, tuple) else ()


def count_of(literal: Literal) -> int:
    """The number in an attribute like `indices`; 0 where it is absent."""
    return literal if isinstance(literal, int) else 0


@dataclass
class Contents:
    """Which operations do something, themselves or in a region of theirs."""

    parents: dict[Op, Op | None] = field(default_factory=dict)
    """The operation around each operation; None at the top level."""
    effectful: set[Op] = field(default_factory=set)
    """Operations that order effects, and those around them."""
    calling: set[Op] = field(default_factory=set)
    """Operations that run generates or hosts, and those around them."""

    @staticmethod
    def of(ops: Iterable[Op]) -> Contents:
        """The contents of `ops`: one walk."""
        contents = Contents()
        ops = list(ops)
        contents.parents = dict.fromkeys(ops)
        calling, effectful = contents.calling, contents.effectful
        order = list(walk(ops))
        for op in order:
            for region in op.regions:
                contents.parents.update(dict.fromkeys(region.ops, op))
        for op in reversed(order):  # inner operations come after their owner in the walk
            if (op.name in ORDERING or op in effectful) and (op in effectful or orders_effects(op)):
                contents._spread(op, effectful)
            if op.name in CALLS or op in calling:
                contents._spread(op, calling)
        return contents

    def _spread(self, op: Op, marked: set[Op]) -> None:
        marked.add(op)
        parent = self.parents[op]
        if parent is not None:
            marked.add(parent)
