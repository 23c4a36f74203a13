"""Regular expressions as trees: what grammars are built from and what patterns of users are parsed to."""

from __future__ import annotations

from dataclasses import dataclass

LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True)
class Pattern:
    """Base of all expressions."""


@dataclass(frozen=True)
class Literal(Pattern):
    """Exactly this text."""

    text: str


@dataclass(frozen=True)
class Characters(Pattern):
    """One character of these ranges of code points (both ends included). Surrogates are never matched."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sequence(Pattern):
    """One after another."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True)
class Alternatives(Pattern):
    """Any one of them; none of them if there are none."""

    parts: tuple[Pattern, ...]


@dataclass(frozen=True)
class Repeat(Pattern):
    """`part`, `low` to `high` times; `high` None is no limit."""

    part: Pattern
    low: int
    high: int | None


@dataclass(frozen=True)
class IntRange(Pattern):
    """The decimal integers `low..high`, without leading zeros or `-0`; nothing where `low > high`."""

    low: int
    high: int


@dataclass(frozen=True)
class BoundedText(Pattern):
    """`part`, of at most `max_tokens` tokens, followed by a quote that is no part of it."""

    part: Pattern
    max_tokens: int


EMPTY = Sequence(())
DIGIT = Characters(((0x30, 0x39),))


def sequence(*parts: Pattern | str) -> Pattern:
    """One after another; texts stand for themselves."""
    return Sequence(tuple(Literal(p) if isinstance(p, str) else p for p in parts))


def alternatives(*parts: Pattern | str) -> Pattern:
    """Any one of them; texts stand for themselves."""
    return Alternatives(tuple(Literal(p) if isinstance(p, str) else p for p in parts))


def optional(part: Pattern) -> Pattern:
    """`part` or nothing."""
    return Repeat(part, 0, 1)


def any_of(characters: str) -> Characters:
    """One of these characters."""
    return Characters(tuple((ord(c), ord(c)) for c in characters))


def complement(ranges: tuple[tuple[int, int], ...]) -> Characters:
    """One character outside these ranges."""
    result, position = [], 0
    for low, high in sorted(ranges):
        if low > position:
            result.append((position, low - 1))
        position = max(position, high + 1)
    if position <= LAST_CODE_POINT:
        result.append((position, LAST_CODE_POINT))
    return Characters(tuple(result))
