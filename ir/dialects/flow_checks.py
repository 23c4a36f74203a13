"""The checks of the `flow` operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..core import Op, Symbol, TokenList, Value, Word
from ..functions import OperandMismatch, result_type
from ..types import BOOL, EFFECT, INT, TOKENS, Bool, Effect, Int, List, Option, Record, Type
from ..values import constant_value
from .checks import effect_last, parameter_types, result_types, same_type, values_only, yielded_types

SHAPED = frozenset({"zip", "enumerate"})
"""Functions whose result's field names the caller chooses."""


def check_const(op: Op) -> Iterator[str]:
    """One literal of the type of the one result."""
    if len(op.args) != 1 or isinstance(op.args[0], Value) or len(op.results) != 1:
        yield "flow.const takes one literal and gives one value"
        return
    literal, type = op.args[0], op.results[0].type
    if type == TOKENS or isinstance(literal, TokenList):
        if not (type == TOKENS and isinstance(literal, TokenList)):
            yield "only a constant of type tokens is `tokens<…>`"
        return
    try:
        constant_value(literal, type)
    except ValueError as error:
        yield f"this is no constant of type {type}: {error}"


def check_pure(op: Op) -> Iterator[str]:
    """A known function, operands that it takes, and the result that it gives."""
    if not op.args or not isinstance(op.args[0], Symbol) or len(op.results) != 1:
        yield "flow.pure takes a function `@name` first and gives one value"
        return
    if len(op.operands) != len(op.args) - 1:
        yield "flow.pure takes values after its function, no literals"
        return
    name, types, given = op.symbol, [v.type for v in op.operands], op.results[0].type
    try:
        expected = result_type(name, types, op.attributes)
    except OperandMismatch as error:
        yield f"@{name}: {error}"
        return
    if name == "record":
        yield from _record(types, given)
    elif name == "parse_json" and not isinstance(given, Option):
        yield f"@parse_json gives an option, not {given}"
    elif name in SHAPED and expected is not None:
        if not _same_shape(expected, given):
            yield f"@{name} gives {expected} with any field names, not {given}"
    elif expected is not None and not same_type(expected, given):
        yield f"@{name} gives {expected}, not {given}"
    elif name == "chunk" and op.attributes.get("unit") not in (Word("tokens"), Word("chars")):
        yield "@chunk takes the attribute `unit = tokens` or `unit = chars`"


def _record(types: Sequence[Type], given: Type) -> Iterator[str]:
    if not isinstance(given, Record):
        yield f"@record gives a record, not {given}"
    elif not _same_types([f.type for f in given.fields], types):
        yield f"the operands are not the fields of {given}: ({', '.join(map(str, types))})"


def _same_shape(first: Type, second: Type) -> bool:
    """Whether both are lists of records of the same types, whatever the names of their fields."""
    match first, second:
        case List(Record(_, left)), List(Record(_, right)):
            return _same_types([f.type for f in left], [f.type for f in right])
    return False


def _same_types(first: Sequence[Type], second: Sequence[Type]) -> bool:
    return len(first) == len(second) and all(same_type(a, b) for a, b in zip(first, second, strict=True))


def check_host(op: Op) -> Iterator[str]:
    """A symbol, then values, of which the last may be an effect, which is given back last."""
    if not op.args or not isinstance(op.args[0], Symbol):
        yield "flow.host takes a symbol `@host` first"
        return
    yield from values_only(op.args[1:], op.name)
    yield from effect_last(op.operands, "the operands")
    yield from effect_last(op.results, "the results")
    if _effects(op.operands) != _effects(op.results):
        yield "flow.host gives an effect back exactly if it takes one"


def check_for(op: Op) -> Iterator[str]:
    """One or more lists; the body takes index and elements and yields the elements of the results."""
    yield from values_only(op.args, op.name)
    lists = [v.type for v in op.operands if v.type != EFFECT]
    effects = _effects(op.operands)
    elements = [t.element for t in lists if isinstance(t, List)]
    if not lists or len(elements) != len(lists):
        yield "flow.for iterates over one or more lists"
        return
    yield from effect_last(op.operands, "the operands")
    yield from parameter_types(op.regions[0], [INT, *elements, *effects], "the body of flow.for")
    results = [r.type for r in op.results]
    if any(not isinstance(t, List | Effect) for t in results) or _effects(op.results) != effects:
        yield "flow.for gives lists, and an effect last exactly if it takes one"
        return
    yields = [t.element if isinstance(t, List) else t for t in results]
    yield from yielded_types(op.regions[0], yields, "the body of flow.for")


def check_fold(op: Op) -> Iterator[str]:
    """`lists` lists and the carried values; the body takes index, elements and carried values and yields the latter."""
    yield from values_only(op.args, op.name)
    count = op.attributes.get("lists", 1)
    types = [v.type for v in op.operands]
    if not isinstance(count, int) or not 1 <= count < len(types):
        yield "flow.fold takes `lists` lists and then at least one carried value"
        return
    elements = [t.element for t in types[:count] if isinstance(t, List)]
    if len(elements) != count:
        yield f"flow.fold iterates over lists, not ({', '.join(map(str, types[:count]))})"
        return
    carried = types[count:]
    yield from effect_last(op.operands, "the operands")
    yield from parameter_types(op.regions[0], [INT, *elements, *carried], "the body of flow.fold")
    yield from yielded_types(op.regions[0], carried, "the body of flow.fold")
    yield from result_types(op, *carried)


def check_if(op: Op) -> Iterator[str]:
    """A bool and maybe an effect; both branches yield the results."""
    yield from values_only(op.args, op.name)
    types = [v.type for v in op.operands]
    if not types or not isinstance(types[0], Bool) or types[1:] not in ([], [EFFECT]):
        yield "flow.if takes a bool, and maybe an effect"
    yield from _branches(op, types[1:])


def check_try(op: Op) -> Iterator[str]:
    """A value and maybe an effect; the region yields what stands for them where the value failed."""
    yield from values_only(op.args, op.name)
    types = [v.type for v in op.operands]
    if not types or EFFECT in types[:1] or types[1:] not in ([], [EFFECT]):
        yield "flow.try takes a value, and maybe an effect"
        return
    yield from result_types(op, *types)
    yield from _branches(op, types[1:])


def _branches(op: Op, effects: Sequence[Type]) -> Iterator[str]:
    """Regions without parameters that yield the results; an effect among these exactly if one is taken."""
    results = [r.type for r in op.results]
    if _effects(op.results) != list(effects):
        yield f"{op.name} gives an effect back, last, exactly if it takes one"
    for region in op.regions:
        yield from parameter_types(region, [], f"a region of {op.name}")
        yield from yielded_types(region, results, f"a region of {op.name}")


def check_loop(op: Op) -> Iterator[str]:
    """A limit and the carried values; the condition takes these, the body takes the turn and these."""
    yield from values_only(op.args, op.name)
    types = [v.type for v in op.operands]
    if len(types) < 2 or not isinstance(types[0], Int):
        yield "flow.loop takes its limit, an int, and then at least one carried value"
        return
    carried = types[1:]
    condition, body = op.regions
    yield from effect_last(op.operands, "the operands")
    yield from parameter_types(condition, carried, "the condition of flow.loop")
    yield from yielded_types(condition, [BOOL], "the condition of flow.loop")
    yield from parameter_types(body, [INT, *carried], "the body of flow.loop")
    yield from yielded_types(body, carried, "the body of flow.loop")
    yield from result_types(op, *carried)


def check_yield(op: Op) -> Iterator[str]:
    """Values only."""
    yield from values_only(op.args, op.name)


def _effects(values: Sequence[Value]) -> list[Type]:
    """The effects among the types of `values`."""
    return [v.type for v in values if v.type == EFFECT]
