"""Patterns of users: Python's `re` syntax, matched against whole texts.

`\\d`, `\\w` and `\\s` are ASCII; `.` is any character but a newline unless `(?s)`; `^` at the start and `$` at the end
change nothing. Look-around, back-references and word borders are errors, as no automaton can keep them.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from ..engine import EngineError
from .pattern import Alternatives, Characters, Literal, Pattern, Repeat, Sequence, complement

# The standard library's own parser (there is no public name for it since Python 3.11).
parser: Any = importlib.import_module("re._parser")
constants: Any = importlib.import_module("re._constants")

_DIGITS = ((0x30, 0x39),)
_SPACES = ((0x09, 0x0D), (0x20, 0x20))
_WORD = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_CATEGORIES = {
    constants.CATEGORY_DIGIT: _DIGITS,
    constants.CATEGORY_NOT_DIGIT: complement(_DIGITS).ranges,
    constants.CATEGORY_SPACE: _SPACES,
    constants.CATEGORY_NOT_SPACE: complement(_SPACES).ranges,
    constants.CATEGORY_WORD: _WORD,
    constants.CATEGORY_NOT_WORD: complement(_WORD).ranges,
}
_STARTS = {constants.AT_BEGINNING, constants.AT_BEGINNING_STRING}
_ENDS = {constants.AT_END, constants.AT_END_STRING}


def parse_regex(text: str) -> Pattern:
    """The pattern that `text` spells. Raises EngineError."""
    try:
        parsed = parser.parse(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise EngineError(f"it is not a regular expression ({error})") from error
    items = list(parsed)
    while items and items[0][0] is constants.AT and items[0][1] in _STARTS:
        items.pop(0)
    while items and items[-1][0] is constants.AT and items[-1][1] in _ENDS:
        items.pop()
    return _sequence(items, parsed.state.flags)


def _sequence(items: Any, flags: int) -> Pattern:
    return Sequence(tuple(_item(operation, argument, flags) for operation, argument in items))


def _item(operation: Any, argument: Any, flags: int) -> Pattern:
    if operation is constants.LITERAL:
        return _characters(((argument, argument),), flags) if flags & re.IGNORECASE else Literal(chr(argument))
    if operation is constants.NOT_LITERAL:
        return complement(_characters(((argument, argument),), flags).ranges)
    if operation is constants.ANY:
        return complement(() if flags & re.DOTALL else ((0x0A, 0x0A),))
    if operation is constants.IN:
        return _set(argument, flags)
    if operation is constants.BRANCH:
        return Alternatives(tuple(_sequence(branch, flags) for branch in argument[1]))
    if operation is constants.SUBPATTERN:
        _, added, removed, items = argument
        return _sequence(items, (flags | added) & ~removed)
    if operation in (constants.MAX_REPEAT, constants.MIN_REPEAT):
        low, high, items = argument
        return Repeat(_sequence(items, flags), low, None if high is constants.MAXREPEAT else high)
    name = str(operation).lower()
    raise EngineError(
        f"it uses {name}, which no finite automaton can keep; patterns match whole texts, "
        "so leave out anchors, look-around, word borders and back-references"
    )


def _set(items: Any, flags: int) -> Pattern:
    ranges: list[tuple[int, int]] = []
    negated = False
    for operation, argument in items:
        if operation is constants.NEGATE:
            negated = True
        elif operation is constants.LITERAL:
            ranges.append((argument, argument))
        elif operation is constants.RANGE:
            ranges.append(argument)
        else:
            ranges.extend(_CATEGORIES[argument])
    found = _characters(tuple(ranges), flags)
    return complement(found.ranges) if negated else found


def _characters(ranges: tuple[tuple[int, int], ...], flags: int) -> Characters:
    """The ranges, with the other case of ASCII letters under `(?i)`."""
    if not flags & re.IGNORECASE:
        return Characters(ranges)
    added = []
    for low, high in ranges:
        for first, last, offset in ((0x41, 0x5A, 0x20), (0x61, 0x7A, -0x20)):
            if max(low, first) <= min(high, last):
                added.append((max(low, first) + offset, min(high, last) + offset))
    return Characters(ranges + tuple(added))
