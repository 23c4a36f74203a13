"""Attributes: known to the operation's definition, of their kind, and present where they are required."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator

from ..core import Literal, Symbol, Table, Word
from ..dialects import DEFINITIONS
from ..types import Type
from .problem import Problem, View


def _is_int(literal: Literal) -> bool:
    return isinstance(literal, int) and not isinstance(literal, bool)


def _all(check: Callable[[Literal], bool]) -> Callable[[Literal], bool]:
    return lambda literal: isinstance(literal, tuple) and all(map(check, literal))


def _is_text(literal: Literal) -> bool:
    return isinstance(literal, str)


def _is_word(literal: Literal) -> bool:
    return isinstance(literal, Word)


def _is_interval(literal: Literal) -> bool:
    """`[low, high]` of ints; none is no bound."""
    if not isinstance(literal, tuple) or len(literal) != 2:
        return False
    low, high = literal
    if not all(end is None or _is_int(end) for end in literal):
        return False
    return not (isinstance(low, int) and isinstance(high, int)) or low <= high


def _is_objective(literal: Literal) -> bool:
    match literal:
        case Word("latency" | "throughput" | "ttft", ()):
            return True
        case Word("deadline", ((int() | float()) as seconds,)):
            return not isinstance(seconds, bool) and seconds > 0
    return False


KINDS: dict[str, Callable[[Literal], bool]] = {
    "int": _is_int,
    "float": lambda literal: _is_int(literal) or isinstance(literal, float),
    "bool": lambda literal: isinstance(literal, bool),
    "text": _is_text,
    "texts": _all(_is_text),
    "ints": _all(_is_int),
    "word": _is_word,
    "words": _all(_is_word),
    "objective": _is_objective,
    "objectives": _all(_is_objective),
    "symbol": lambda literal: isinstance(literal, Symbol),
    "interval": _is_interval,
    "type": lambda literal: isinstance(literal, Type),
    "table": lambda literal: isinstance(literal, Table),
    "table of types": lambda literal: isinstance(literal, Table) and all(
        isinstance(value, Type) for _, value in literal.entries),
}
"""What the kinds of attribute definitions mean."""


def known_and_of_kind(view: View) -> Iterator[Problem]:
    """Each attribute is one of the definition's and of its kind."""
    for op in view.ops:
        if not op.attributes:
            continue
        definition = DEFINITIONS[op.name]
        known = _BY_NAME[op.name]
        for name, literal in op.attributes.items():
            kind = known.get(name)
            if kind is None:
                near = difflib.get_close_matches(name, known, 1)
                yield Problem(op, f"{definition.name} has no attribute `{name}`" + (
                    f"; did you mean `{near[0]}`?" if near else ""))
            elif not KINDS[kind](literal):
                yield Problem(op, f"the attribute `{name}` of {definition.name} must be of kind {kind}")


def required(view: View) -> Iterator[Problem]:
    """Required attributes are present."""
    for op in view.ops:
        for name in _REQUIRED[op.name]:
            if name not in op.attributes:
                yield Problem(op, f"{op.name} needs the attribute `{name}`")


_BY_NAME = {d.name: {a.name: a.kind for a in d.attributes} for d in DEFINITIONS.values()}
_REQUIRED = {d.name: tuple(a.name for a in d.attributes if a.required) for d in DEFINITIONS.values()}

RULES = (known_and_of_kind, required)
