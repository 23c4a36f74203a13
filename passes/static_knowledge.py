"""What is known of a program before it runs: constants, bounds, and the arguments if they are given."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.core import Module, Op, Table, Value
from ..ir.target import Target
from ..ir.types import EFFECT
from ..ir.values import RuntimeValue, constant_value
from .intervals import Interval
from .lengths import Lengths, lengths_of
from .planner import Knowledge
from .value_bounds import Bounds, constant_bounds


def static_knowledge(module: Module, target: Target,
                     arguments: Mapping[str, RuntimeValue] | None = None) -> StaticKnowledge:
    """What the only program of `module` is known to do, with `arguments` by parameter name.

    With arguments, parameters that are missing among them have their defaults; without, nothing is known of them.
    """
    if arguments is None:
        return StaticKnowledge(lengths_of(module, target))
    return StaticKnowledge(Lengths(module, target, _given(module, arguments)))


class StaticKnowledge(Knowledge):
    """Answers from bounds: the middle between the least and the most where both are known, else None."""

    def __init__(self, lengths: Lengths) -> None:
        self.lengths = lengths

    def trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return _middle(self.lengths.turns(op))

    def most_trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self.lengths.turns(op).high

    def share(self, op: Op, region: int) -> float | None:
        """See `Knowledge`. A branch is as likely as the other; the way around failures is not taken."""
        if op.name == "flow.try":
            return 0.0
        condition = op.args[0]
        texts = self.lengths.of(condition).texts if isinstance(condition, Value) else None
        if texts is not None and len(texts) == 1:
            return float((texts[0] == "true") == (region == 0))
        return 0.5

    def budget(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return _option(self, op, "max_tokens")

    def samples(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return _option(self, op, "n")

    def piece_tokens(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`."""
        return _middle(self.lengths.piece(op, piece))

    def longest_piece(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`."""
        return self.lengths.piece(op, piece).high


def _middle(bounds: Interval) -> float | None:
    return None if bounds.high is None else (bounds.low + bounds.high) / 2


def _option(knowledge: StaticKnowledge, op: Op, name: str) -> float | None:
    """The value of an option that is an operand."""
    names = op.attributes.get("options")
    if not isinstance(names, tuple) or name not in names:
        return None
    operand = op.args[1 + names.index(name)]
    number = knowledge.lengths.of(operand).number if isinstance(operand, Value) else None
    return None if number is None else _middle(number)


def _given(module: Module, arguments: Mapping[str, RuntimeValue]) -> dict[Value, Bounds]:
    (program,) = (op for op in module.ops if op.name == "sem.program")
    defaults = program.attributes.get("defaults")
    table = dict(defaults.entries) if isinstance(defaults, Table) else {}
    given: dict[Value, Bounds] = {}
    for parameter in program.regions[0].parameters:
        if parameter.type == EFFECT:
            continue
        if parameter.name in arguments:
            given[parameter] = constant_bounds(arguments[parameter.name], parameter.type)
        elif parameter.name in table:
            given[parameter] = constant_bounds(constant_value(table[parameter.name], parameter.type), parameter.type)
    return given
