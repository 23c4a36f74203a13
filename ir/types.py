"""The types of values: what the language has, plus prompts, contexts, tokens and effects.

Types are immutable and compare by structure; bounds (`int<0..10>`) are part of a type because they
decide how an output is decoded. `str(t)` is the IR's spelling; named records and enums print as a
reference to their declaration in the module.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_PLAIN_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def quoted_name(name: str) -> str:
    """A name as IR text: bare where it is an identifier (maybe dotted), else a JSON string."""
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


@dataclass(frozen=True)
class Type:
    """Base of all types."""


@dataclass(frozen=True)
class Text(Type):
    """A string of Unicode code points, at most `max_tokens` tokens when decoded."""

    max_tokens: int | None = None

    def __str__(self) -> str:
        return "text" if self.max_tokens is None else f"text<max_tokens = {self.max_tokens}>"


@dataclass(frozen=True)
class Int(Type):
    """A 64-bit signed integer, within `low..high` (both ends included; None is no bound on that side)."""

    low: int | None = None
    high: int | None = None

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "int"
        return f"int<{'' if self.low is None else self.low}..{'' if self.high is None else self.high}>"


@dataclass(frozen=True)
class Float(Type):
    """A finite 64-bit float."""

    def __str__(self) -> str:
        return "float"


@dataclass(frozen=True)
class Bool(Type):
    """true or false."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class EnumMember:
    """A member of an enum and the text that it renders as."""

    name: str
    text: str


@dataclass(frozen=True)
class Enum(Type):
    """A closed set of named members."""

    name: str
    members: tuple[EnumMember, ...]

    def __str__(self) -> str:
        return f"enum<{quoted_name(self.name)}>"


@dataclass(frozen=True)
class Field:
    """A field of a record."""

    name: str
    type: Type


@dataclass(frozen=True)
class Record(Type):
    """A record; `name` is None for the record that a call with several outputs gives."""

    name: str | None
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        if self.name is not None:
            return f"record<{quoted_name(self.name)}>"
        return "record<" + ", ".join(f"{quoted_name(f.name)}: {f.type}" for f in self.fields) + ">"

    def field(self, name: str) -> Field | None:
        """The field called `name`, or None."""
        return next((f for f in self.fields if f.name == name), None)


@dataclass(frozen=True)
class List(Type):
    """A list, of at most `maximum` elements when decoded."""

    element: Type
    maximum: int | None = None

    def __str__(self) -> str:
        bound = "" if self.maximum is None else f", max = {self.maximum}"
        return f"list<{self.element}{bound}>"


@dataclass(frozen=True)
class Option(Type):
    """A value or none (`T?`); options do not nest."""

    element: Type

    def __str__(self) -> str:
        return f"option<{self.element}>"


@dataclass(frozen=True)
class Map(Type):
    """A map from text to values."""

    element: Type

    def __str__(self) -> str:
        return f"map<{self.element}>"


@dataclass(frozen=True)
class Prompt(Type):
    """The tokens of a prompt so far; `chat` in the language."""

    def __str__(self) -> str:
        return "prompt"


@dataclass(frozen=True)
class Ctx(Type):
    """A KV context on an engine."""

    def __str__(self) -> str:
        return "ctx"


@dataclass(frozen=True)
class Tokens(Type):
    """A run of token ids."""

    def __str__(self) -> str:
        return "tokens"


@dataclass(frozen=True)
class Effect(Type):
    """The right to run the next effectful host call; orders the calls of one program run."""

    def __str__(self) -> str:
        return "effect"


TEXT, INT, FLOAT, BOOL = Text(), Int(), Float(), Bool()
PROMPT, CTX, TOKENS, EFFECT = Prompt(), Ctx(), Tokens(), Effect()


def strip_bounds(type: Type) -> Type:
    """The type without decoding bounds: what assignability and operators look at."""
    match type:
        case Text():
            return TEXT
        case Int():
            return INT
        case List(element):
            return List(strip_bounds(element))
        case Option(element):
            return Option(strip_bounds(element))
        case Map(element):
            return Map(strip_bounds(element))
        case Record(None, fields):
            return Record(None, tuple(Field(f.name, strip_bounds(f.type)) for f in fields))
        case _:
            return type


def contains(type: Type, kinds: tuple[type[Type], ...]) -> bool:
    """Whether `type` or a component of it is an instance of one of `kinds`."""
    match type:
        case List(element) | Option(element) | Map(element):
            return contains(element, kinds)
        case Record(_, fields):
            return any(contains(f.type, kinds) for f in fields)
        case _:
            return isinstance(type, kinds)


def holds_context(type: Type) -> bool:
    """Whether a value of `type` owns KV contexts (a context, or an aggregate with one inside)."""
    return contains(type, (Ctx, Prompt))
