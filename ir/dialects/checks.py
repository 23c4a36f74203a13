"""What the checks of several operations share: arguments as values, types that match, counts of operands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..core import Arg, Op, Region, Value
from ..types import EFFECT, FLOAT, INT, TEXT, Float, Int, List, Text, Type, strip_bounds

OPTION_TYPES: dict[str, tuple[type[Type], ...]] = {
    "max_tokens": (Int,), "max_words": (Int,), "temperature": (Float, Int), "top_p": (Float, Int), "top_k": (Int,),
    "min_p": (Float, Int), "seed": (Int,), "stop": (Text, List), "regex": (Text,), "choices": (List,), "n": (Int,),
    "logprobs": (Int,),
}
"""Options of an output that may be operands, and the kinds of types that they have."""
_NAMES = {Float: FLOAT, Int: INT, Text: TEXT, List: List(TEXT)}


def same_type(first: Type, second: Type) -> bool:
    """Whether two types are equal, bounds aside."""
    return first is second or first == second or strip_bounds(first) == strip_bounds(second)


def result_types(op: Op, *types: Type) -> Iterator[str]:
    """The results have exactly these types."""
    if len(op.results) != len(types) or not all(
            same_type(r.type, t) for r, t in zip(op.results, types, strict=True)):
        yield (f"{op.name} gives {_types(types)}, not {_types([r.type for r in op.results])}")


def values_only(args: Sequence[Arg], what: str) -> Iterator[str]:
    """All of `args` are values, no literals."""
    if not all(isinstance(a, Value) for a in args):
        yield f"{what} takes values here, no literals"


def parameter_types(region: Region, types: Sequence[Type], what: str) -> Iterator[str]:
    """The parameters of `region` have exactly these types."""
    found = [p.type for p in region.parameters]
    if len(found) != len(types) or not all(same_type(f, t) for f, t in zip(found, types, strict=True)):
        yield f"{what} takes {_types(types)}, not {_types(found)}"


def yielded_types(region: Region, types: Sequence[Type], what: str) -> Iterator[str]:
    """The terminator of `region` yields values of exactly these types."""
    yielded = [a.type for a in region.terminator.args if isinstance(a, Value)]
    if len(yielded) != len(types) or not all(same_type(y, t) for y, t in zip(yielded, types, strict=True)):
        yield f"{what} yields {_types(types)}, not {_types(yielded)}"


def effect_last(values: Sequence[Value], what: str) -> Iterator[str]:
    """At most one effect is among `values`, and it is the last."""
    if any(v.type == EFFECT for v in values[:-1]):
        yield f"{what} of an operation hold at most one effect, which is the last"


def names_in(op: Op, attribute: str) -> tuple[str, ...]:
    """The texts of a list attribute; empty where it is absent or malformed."""
    literal = op.attributes.get(attribute)
    return tuple(n for n in literal if isinstance(n, str)) if isinstance(literal, tuple) else ()


def count_in(op: Op, attribute: str) -> int:
    """The number in an attribute; 0 where it is absent or malformed."""
    literal = op.attributes.get(attribute)
    return literal if isinstance(literal, int) else 0


def trailing_operands(op: Op, first: int) -> Iterator[str]:
    """From argument `first` on: one operand for each name in `options`, then `indices` ints."""
    options, indices = names_in(op, "options"), count_in(op, "indices")
    operands = op.args[first:]
    if len(operands) != len(options) + indices:
        yield (f"{op.name} has {len(options)} options and {indices} indices as operands, but {len(operands)} operands "
               f"follow the first {first}")
        return
    yield from values_only(operands, op.name)
    for name, operand in zip(options, operands, strict=False):
        if name not in OPTION_TYPES:
            yield f"`{name}` is no option of an output"
        elif isinstance(operand, Value) and not isinstance(operand.type, OPTION_TYPES[name]):
            yield f"the option `{name}` is {operand.type}, not {_NAMES[OPTION_TYPES[name][0]]}"
        if name in op.attributes:
            yield f"the option `{name}` is both an operand and an attribute"
    for operand in operands[len(options):]:
        if isinstance(operand, Value) and not isinstance(operand.type, Int):
            yield f"an index is {operand.type}, not int"


def generate_results(op: Op, context: Type) -> Iterator[str]:
    """The value, the context after it, and the log-probabilities if they are asked for."""
    logprobs = "logprobs" in op.attributes or "logprobs" in names_in(op, "options")
    types = [r.type for r in op.results]
    if len(types) != 2 + logprobs or types[1] != context:
        yield f"{op.name} gives a value, a {context}{' and a list of log-probabilities' if logprobs else ''}"
    elif logprobs and not isinstance(types[2], List):
        yield f"the log-probabilities are a list, not {types[2]}"
    elif ("n" in op.attributes or "n" in names_in(op, "options")) and not isinstance(types[0], List):
        yield f"{op.name} with `n` gives a list, not {types[0]}"


def _types(types: Sequence[Type]) -> str:
    return f"({', '.join(map(str, types))})"
