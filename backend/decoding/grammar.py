"""The grammar of each type: a regular expression over the text of its values.

Records, lists, maps and options are compact JSON; at the top, enums, numbers and booleans are their bare text.
Every text that a grammar admits is read by `ir.reading.parse_value`.
"""

from __future__ import annotations

import json

from ...ir.types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from ...ir.values import INT_MAX, INT_MIN
from ..engine import EngineError
from .pattern import (
    DIGIT,
    EMPTY,
    BoundedText,
    Characters,
    IntRange,
    Pattern,
    Repeat,
    alternatives,
    any_of,
    complement,
    optional,
    sequence,
)

# At most 16 digits before the exponent and 2 in it: always finite.
FLOAT = sequence(
    optional(any_of("-")),
    alternatives("0", sequence(Characters(((0x31, 0x39),)), Repeat(DIGIT, 0, 15))),
    optional(sequence(".", Repeat(DIGIT, 1, 16))),
    optional(sequence(any_of("eE"), optional(any_of("+-")), Repeat(DIGIT, 1, 2))),
)

_HEX = Characters(((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)))
# The escapes of JSON, but none of half a surrogate pair.
_UNICODE_ESCAPE = alternatives(
    sequence(Characters(((0x30, 0x39), (0x41, 0x43), (0x45, 0x46), (0x61, 0x63), (0x65, 0x66))), Repeat(_HEX, 3, 3)),
    sequence(any_of("dD"), Characters(((0x30, 0x37),)), Repeat(_HEX, 2, 2)),
)
_ESCAPE = sequence("\\", alternatives(any_of('"\\/bfnrt'), sequence("u", _UNICODE_ESCAPE)))
STRING_CONTENT = Repeat(alternatives(complement(((0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C))), _ESCAPE), 0, None)
STRING = sequence('"', STRING_CONTENT, '"')


def type_pattern(type: Type) -> Pattern:
    """The texts of the values of `type`. Raises EngineError for types that have none."""
    match type:
        case Enum(_, members):
            return alternatives(*(m.text for m in members))
        case Text():
            raise EngineError("plain text has no grammar")
        case _:
            return json_pattern(type)


def json_pattern(type: Type) -> Pattern:
    """The compact JSON of the values of `type`. Raises EngineError for types that have none."""
    match type:
        case Text(None):
            return STRING
        case Text(max_tokens):
            assert max_tokens is not None
            return sequence('"', BoundedText(STRING_CONTENT, max_tokens), '"')
        case Int(low, high):
            return IntRange(INT_MIN if low is None else low, INT_MAX if high is None else high)
        case Float():
            return FLOAT
        case Bool():
            return alternatives("true", "false")
        case Enum(_, members):
            return alternatives(*(_json(m.text) for m in members))
        case Option(element):
            return alternatives("null", json_pattern(element))
        case List(element, maximum):
            return sequence("[", _separated(json_pattern(element), maximum), "]")
        case Map(element):
            return sequence("{", _separated(sequence(STRING, ":", json_pattern(element)), None), "}")
        case Record(_, fields):
            parts: list[Pattern | str] = []
            for field in fields:
                parts += ["," if parts else "{", _json(field.name) + ":", json_pattern(field.type)]
            return sequence(*parts, "}") if parts else sequence("{}")
        case _:
            raise EngineError(f"a value of type {type} cannot be generated")


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _separated(element: Pattern, maximum: int | None) -> Pattern:
    """Up to `maximum` elements with commas between them."""
    if maximum == 0:
        return EMPTY
    more = Repeat(sequence(",", element), 0, None if maximum is None else maximum - 1)
    return optional(sequence(element, more))


def choices_pattern(choices: tuple[str, ...]) -> Pattern:
    """Exactly these texts. Raises EngineError when there are none."""
    if not choices:
        raise EngineError("`choices` is empty, so no value is possible")
    return alternatives(*dict.fromkeys(choices))
