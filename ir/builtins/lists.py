"""Lists: order, selection, and what is made of several of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from ..core import Literal
from ..types import BOOL, INT, TEXT, Bool, Enum, Field, Int, List, Map, Option, Record, Text, Type, strip_bounds
from ..values import Failure, RuntimeValue, first_failure
from .base import (
    AGGREGATE,
    ORDERED,
    EvaluationError,
    OperandMismatch,
    Operands,
    PureContext,
    PureFunction,
    Strictness,
    always,
    element_of,
    expect,
    option,
    same,
)

SHALLOW = Strictness.SHALLOW
ZIP_FIELDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def _length_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    expect(isinstance(types[0], AGGREGATE), f"takes a list, map or text, not {types[0]}")
    return INT


def _first_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    """The type of an operand that is a list (or text), which the function gives again."""
    expect(isinstance(types[0], List | Text), f"takes a list or text, not {types[0]}")
    return strip_bounds(types[0])


def _slice(args: Operands, context: PureContext) -> RuntimeValue:
    low, high = (*args[1:], None, None)[:2]
    return args[0][low:high]


def _slice_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    for bound in types[1:]:
        plain = bound.element if isinstance(bound, Option) else bound
        expect(isinstance(plain, Int), f"the ends of a slice are ints, not {bound}")
    return _first_type(types, attributes)


def _index(args: Operands, context: PureContext) -> RuntimeValue:
    container, at = args
    if isinstance(container, dict):
        return container.get(at)
    return container[at] if -len(container) <= at < len(container) else None


def _index_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    container, at = types
    if isinstance(container, List):
        expect(isinstance(at, Int), f"a list is indexed by an int, not {at}")
        return option(container.element)
    if isinstance(container, Map):
        expect(isinstance(at, Text), f"a map is indexed by a text, not {at}")
        return option(container.element)
    raise OperandMismatch(f"only lists and maps are indexed, not {container}")


def _extreme(args: Operands, context: PureContext, sign: int) -> RuntimeValue:
    values = args[0] if len(args) == 1 and isinstance(args[0], list) else list(args)
    if not values:
        if isinstance(context.result_type, Option):
            return None
        raise EvaluationError("the list is empty")
    return min(values) if sign < 0 else max(values)


def _extreme_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if len(types) == 1:
        element = element_of(types[0])
        expect(isinstance(element, ORDERED), f"takes numbers or texts, not {types[0]}")
        return option(strip_bounds(element))
    common = same(types)
    expect(isinstance(common, ORDERED), f"takes numbers or texts, not {common}")
    return common


def _sort(args: Operands, context: PureContext) -> RuntimeValue:
    element = element_of(context.operand_types[0]) if context.operand_types else TEXT
    if isinstance(element, Enum):
        order = {m.name: i for i, m in enumerate(element.members)}
        return sorted(args[0], key=lambda name: order[name])
    return sorted(args[0])


def _sort_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    element = element_of(types[0])
    expect(isinstance(element, (*ORDERED, Bool, Enum)), f"{types[0]} has no order")
    return List(strip_bounds(element))


def _flatten(args: Operands, context: PureContext) -> RuntimeValue:
    failed = next((xs for xs in args[0] if isinstance(xs, Failure)), None)
    return [x for xs in args[0] for x in xs] if failed is None else failed


def _flatten_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    return List(strip_bounds(element_of(element_of(types[0]), "an element of the operand")))


def _unique(args: Operands, context: PureContext) -> RuntimeValue:
    first: dict[Hashable, RuntimeValue] = {}
    for value in args[0]:
        first.setdefault(_key(value), value)
    return list(first.values())


def _key(value: RuntimeValue) -> Hashable:
    """Equal keys for values that are `==`."""
    match value:
        case list():
            return tuple(map(_key, value))
        case dict():
            return frozenset((name, _key(v)) for name, v in value.items())
    assert isinstance(value, Hashable)
    return value


def _enumerate(args: Operands, context: PureContext) -> RuntimeValue:
    return [_record(context, (i, x)) for i, x in enumerate(args[0])]


def _enumerate_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    return List(Record(None, (Field("index", INT), Field("value", strip_bounds(element_of(types[0]))))))


def _zip(args: Operands, context: PureContext) -> RuntimeValue:
    return [_record(context, values) for values in zip(*args, strict=False)]


def _zip_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    expect(len(types) <= len(ZIP_FIELDS), f"takes at most {len(ZIP_FIELDS)} lists")
    elements = [strip_bounds(element_of(t)) for t in types]
    return List(Record(None, tuple(Field(n, t) for n, t in zip(ZIP_FIELDS, elements, strict=False))))


def _record(context: PureContext, values: Sequence[RuntimeValue]) -> RuntimeValue:
    """A record of the element type of the result, whose field names the type decides."""
    element = element_of(context.result_type)
    assert isinstance(element, Record)
    return {f.name: v for f, v in zip(element.fields, values, strict=True)}


def _select(args: Operands, context: PureContext) -> RuntimeValue:
    failed = first_failure(args[1:])
    return [x for x, keep in zip(args[0], args[1], strict=True) if keep] if failed is None else failed


def _select_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    expect(isinstance(element_of(types[1]), Bool), f"the mask is {types[1]}, not a list of bools")
    return List(strip_bounds(element_of(types[0])))


def _positions(args: Operands, context: PureContext) -> RuntimeValue:
    return [i for i, keep in enumerate(args[0]) if keep]


def _contains(args: Operands, context: PureContext) -> RuntimeValue:
    return args[1] in args[0]


def _contains_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    container, item = types
    match container:
        case Text() | Map():
            expect(isinstance(item, Text), f"a {container} contains texts, not {item}")
        case List(element):
            same((element, item))
        case _:
            raise OperandMismatch(f"takes a list, map or text, not {container}")
    return BOOL


def _list_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type | None:
    return List(same(types)) if types else None


FUNCTIONS = (
    PureFunction("list", "[a, b]", "A list of its operands.", (0, None), _list_type, lambda a, c: list(a),
                 Strictness.COMPONENTS),
    PureFunction("len", "len(xs)", "Elements of a list or map, code points of a text.", (1, 1), _length_type,
                 lambda a, c: len(a[0]), SHALLOW),
    PureFunction("index", "xs[i] | m[k]", "The element, or none; a negative i counts from the end.", (2, 2),
                 _index_type, _index, SHALLOW),
    PureFunction("slice", "xs[a:b]", "Elements (or code points) a up to b, which is not included; ends as in Python.",
                 (1, 3), _slice_type, _slice, SHALLOW),
    PureFunction("in", "x in xs", "Whether a list has an element equal to x, or a map the key.", (2, 2),
                 lambda t, a: _contains_type((t[1], t[0]), a), lambda a, c: a[0] in a[1]),
    PureFunction("contains", "contains(xs, x)", "Whether a text has the part, a list the element, a map the key.",
                 (2, 2), _contains_type, _contains),
    PureFunction("enumerate", "enumerate(xs)", "Records of index, from 0, and value.", (1, 1), _enumerate_type,
                 _enumerate, SHALLOW),
    PureFunction("zip", "zip(xs, ys)", "Records of the elements at the same place, as many as the shortest list has.",
                 (1, None), _zip_type, _zip, SHALLOW),
    PureFunction("min", "min(xs) | min(a, b)", "The least; of a list a `T?`, which is none for an empty one.",
                 (1, None), _extreme_type, lambda a, c: _extreme(a, c, -1), fallible=True),
    PureFunction("max", "max(xs) | max(a, b)", "The greatest; of a list a `T?`, which is none for an empty one.",
                 (1, None), _extreme_type, lambda a, c: _extreme(a, c, 1), fallible=True),
    PureFunction("sort", "sort(xs)", "In ascending order, equal ones as they stood; enums in declared order.", (1, 1),
                 _sort_type, _sort),
    PureFunction("reverse", "reverse(xs)", "From last to first.", (1, 1), _first_type, lambda a, c: a[0][::-1],
                 SHALLOW),
    PureFunction("flatten", "flatten(xss)", "The elements of the lists of a list.", (1, 1), _flatten_type, _flatten,
                 SHALLOW),
    PureFunction("unique", "unique(xs)", "The first of each group of equal elements.", (1, 1),
                 lambda t, a: List(strip_bounds(element_of(t[0]))), _unique),
    PureFunction("select", "[x for x in xs if c]", "The elements whose place in the mask is true.", (2, 2),
                 _select_type, _select, SHALLOW),
    PureFunction("positions", "[x for x in xs if c]", "The places where the mask is true.", (1, 1),
                 always(List(INT), List(BOOL)), _positions),
)
