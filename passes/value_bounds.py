"""What types and constants say about the size of values: bytes of the rendering, elements, numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..ir.rendering import json_text, render
from ..ir.types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from ..ir.values import RuntimeValue
from .intervals import ANY, Interval, span

FEW = 64
"""Values with at most this many possible texts are looked at one by one."""
JSON_EXPANSION = 6
"""Bytes that one byte of a text may take inside JSON (a control character, escaped)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of a value. Sizes are UTF-8 bytes; nothing here depends on a tokenizer."""

    bytes: Interval = ANY
    """Of its rendering in a prompt."""
    json: Interval = ANY
    """Of its rendering inside JSON."""
    texts: tuple[str, ...] | None = None
    """Every text that it may render as, where these are few."""
    count: Interval | None = None
    """Elements of a list or map."""
    element: Bounds | None = None
    """Of a list, map or option."""
    fields: tuple[tuple[str, Bounds], ...] | None = None
    """Of a record."""
    number: Interval | None = None
    """An integer that is not negative."""

    def join(self, other: Bounds) -> Bounds:
        """What holds of a value that is one of two of the same type."""
        texts = None
        if self.texts is not None and other.texts is not None:
            merged = tuple(dict.fromkeys(self.texts + other.texts))
            texts = merged if len(merged) <= FEW else None
        fields = None
        if self.fields is not None and other.fields is not None and len(self.fields) == len(other.fields):
            fields = tuple((n, a.join(b)) for (n, a), (_, b) in zip(self.fields, other.fields, strict=True))
        return Bounds(self.bytes.join(other.bytes), self.json.join(other.json), texts, _join(self.count, other.count),
                      None if self.element is None or other.element is None else self.element.join(other.element),
                      fields, _join(self.number, other.number))

    def field(self, name: str) -> Bounds | None:
        """The bounds of a field."""
        return dict(self.fields or ()).get(name)


UNKNOWN = Bounds()


def _join(first: Interval | None, second: Interval | None) -> Interval | None:
    return None if first is None or second is None else first.join(second)


def text_bounds(size: Interval) -> Bounds:
    """A text of that many bytes."""
    high = None if size.high is None else JSON_EXPANSION * size.high + 2
    return Bounds(size, Interval(size.low + 2, high))


def text_choices(texts: tuple[str, ...]) -> Bounds:
    """A text that is one of `texts`."""
    raw = span(Interval.exactly(len(t.encode())) for t in texts) or ANY
    quoted = span(Interval.exactly(len(json.dumps(t, ensure_ascii=False).encode())) for t in texts) or ANY
    return Bounds(raw, quoted, texts if len(texts) <= FEW else None)


def plain(size: Interval, number: Interval | None = None) -> Bounds:
    """A value that renders alike everywhere."""
    return Bounds(size, size, number=number)


def list_bounds(count: Interval, element: Bounds) -> Bounds:
    """A list of `count` elements: brackets, elements and commas."""
    commas = Interval(max(0, count.low - 1), None if count.high is None else max(0, count.high - 1))
    size = Interval.exactly(2) + count * element.json + commas
    return Bounds(size, size, count=count, element=element)


def record_bounds(fields: tuple[tuple[str, Bounds], ...]) -> Bounds:
    """A record: braces, keys, colons, values and commas."""
    size = Interval.exactly(2 + max(0, len(fields) - 1))
    for name, bounds in fields:
        size = size + Interval.exactly(len(json.dumps(name, ensure_ascii=False).encode()) + 1) + bounds.json
    return Bounds(size, size, fields=fields)


def option_bounds(element: Bounds) -> Bounds:
    """`null`, or the value."""
    null = Interval.exactly(4)
    return Bounds(element.bytes.join(null), element.json.join(null), element=element)


def type_bounds(type: Type) -> Bounds:
    """What the type alone says. Bounds in types are promises of decoding: other values need not keep them."""
    return _type_bounds(type, None, False)


def decoded_bounds(type: Type, limit: int | None) -> Bounds:
    """What the type says of a decoded value whose text has at most `limit` bytes."""
    return _type_bounds(type, limit, True)


def _type_bounds(type: Type, limit: int | None, is_decoded: bool) -> Bounds:
    match type:
        case Text():
            return text_bounds(Interval(0, limit))
        case Int(low, high):
            return _int_bounds(low, high) if is_decoded else _int_bounds(None, None)
        case Float():
            return plain(Interval(3, 24))
        case Bool():
            return Bounds(Interval(4, 5), Interval(4, 5), ("true", "false"))
        case Enum(_, members):
            return text_choices(tuple(m.text for m in members))
        case Record(_, fields):
            return record_bounds(tuple((f.name, _type_bounds(f.type, limit, is_decoded)) for f in fields))
        case List(element, maximum):
            count = Interval(0, limit).at_most(maximum if is_decoded else None)
            return list_bounds(count, _type_bounds(element, limit, is_decoded))
        case Map(element):
            inside = _type_bounds(element, limit, is_decoded)
            return Bounds(Interval(2), Interval(2), count=Interval(0, limit), element=inside)
        case Option(element):
            return option_bounds(_type_bounds(element, limit, is_decoded))
        case _:
            return UNKNOWN


def _int_bounds(low: int | None, high: int | None) -> Bounds:
    ends = [low if low is not None else -(2**63), high if high is not None else 2**63 - 1]
    longest = max(len(str(end)) for end in ends)
    shortest = 1 if ends[0] <= 9 and ends[1] >= 0 else min(len(str(end)) for end in ends)
    number = Interval(max(0, ends[0]), max(0, ends[1])) if low is not None or high is not None else None
    texts = None
    if low is not None and high is not None and high - low < FEW:
        texts = tuple(str(i) for i in range(low, high + 1))
    size = Interval(shortest, longest)
    return Bounds(size, size, texts, number=number)


def constant_bounds(value: RuntimeValue, type: Type) -> Bounds:
    """Everything about a constant."""
    if isinstance(type, Text) and isinstance(value, str):  # nearly all of them
        quoted = json_text(value, type)
        return Bounds(Interval.exactly(len(value.encode())), Interval.exactly(len(quoted.encode())), (value,))
    shape = type_bounds(type)
    match type:
        case List(element):
            parts = [constant_bounds(v, element) for v in value]
            shape = list_bounds(Interval.exactly(len(parts)), _all(parts) or type_bounds(element))
        case Record(_, fields):
            shape = record_bounds(tuple((f.name, constant_bounds(value[f.name], f.type)) for f in fields))
        case Option(element) if value is not None:
            shape = option_bounds(constant_bounds(value, element))
        case Int():
            shape = plain(shape.bytes, Interval.exactly(max(0, value)))
    text = render(value, type)
    quoted = json_text(value, type)
    return Bounds(Interval.exactly(len(text.encode())), Interval.exactly(len(quoted.encode())), (text,), shape.count,
                  shape.element, shape.fields, shape.number)


def _all(parts: list[Bounds]) -> Bounds | None:
    found: Bounds | None = None
    for part in parts:
        found = part if found is None else found.join(part)
    return found
