"""From patterns to nondeterministic automata over the bytes of UTF-8 (Thompson's construction)."""

from __future__ import annotations

from functools import lru_cache

from ..engine import EngineError
from .pattern import Alternatives, BoundedText, Characters, IntRange, Literal, Pattern, Repeat, Sequence

MOST_STATES = 200_000
Ranges = tuple[tuple[int, int], ...]


class ByteNFA:
    """States are list indices. `start` and `end` are the first and the only accepting state.

    `edges`: per state (first byte, last byte, target); `silent`: per state targets that need no byte;
    `bound`: per state the `max_tokens` of the text that it lies in, or None; `exits`: states at the end of such a text.
    """

    def __init__(self, pattern: Pattern) -> None:
        self.edges: list[list[tuple[int, int, int]]] = []
        self.silent: list[list[int]] = []
        self.bound: list[int | None] = []
        self.exits: set[int] = set()
        self._current_bound: int | None = None
        self.start = self._state()
        self.end = self._add(pattern, self.start)

    def _state(self) -> int:
        if len(self.edges) == MOST_STATES:
            raise EngineError("the grammar is too large; use smaller bounds or fewer choices")
        self.edges.append([])
        self.silent.append([])
        self.bound.append(self._current_bound)
        return len(self.edges) - 1

    def _add(self, pattern: Pattern, start: int) -> int:
        """Add `pattern` from state `start` on; the state where it ends."""
        match pattern:
            case Literal(text):
                for byte in text.encode():
                    start = self._step(start, byte, byte)
                return start
            case Characters(ranges):
                return self._add_characters(ranges, start)
            case Sequence(parts):
                for part in parts:
                    start = self._add(part, start)
                return start
            case Alternatives(parts):
                end = self._state()
                for part in parts:
                    first = self._state()
                    self.silent[start].append(first)
                    self.silent[self._add(part, first)].append(end)
                return end
            case Repeat(part, low, high):
                return self._add_repeat(part, low, high, start)
            case IntRange(low, high):
                return self._add_int_range(low, high, start)
            case BoundedText(_, 0):
                return start
            case BoundedText(part, max_tokens):
                self._current_bound = max_tokens
                first = self._state()
                self.silent[start].append(first)
                last = self._add(part, first)
                self._current_bound = None
                end = self._state()
                self.silent[last].append(end)
                self.exits.add(end)
                return end
        raise TypeError(f"not a pattern: {pattern!r}")

    def _step(self, start: int, low: int, high: int) -> int:
        end = self._state()
        self.edges[start].append((low, high, end))
        return end

    def _add_characters(self, ranges: Ranges, start: int) -> int:
        end = self._state()
        heads: dict[tuple[tuple[int, int], ...], int] = {}
        for sequence in utf8_sequences(ranges):
            state = start
            for i, (low, high) in enumerate(sequence[:-1]):
                prefix = sequence[: i + 1]
                if prefix not in heads:
                    heads[prefix] = self._step(state, low, high)
                state = heads[prefix]
            self.edges[state].append((*sequence[-1], end))
        return end

    def _add_repeat(self, part: Pattern, low: int, high: int | None, start: int) -> int:
        for _ in range(low):
            start = self._add(part, start)
        if high is None:
            loop = self._state()
            self.silent[start].append(loop)
            last = self._add(part, loop)
            self.silent[last].append(loop)
            return loop
        end = self._state()
        for _ in range(high - low):
            self.silent[start].append(end)
            start = self._add(part, start)
        self.silent[start].append(end)
        return end


    def _add_int_range(self, low: int, high: int, start: int) -> int:
        end = self._state()
        if low < 0:
            self._add_naturals(max(1, -high), -low, self._step(start, ord("-"), ord("-")), end)
        if high >= 0:
            self._add_naturals(max(0, low), high, start, end)
        return end

    def _add_naturals(self, low: int, high: int, start: int, end: int) -> None:
        any_digits = [end]  # any_digits[k]: k more digits, whichever
        for size in range(len(str(low)), len(str(high)) + 1 if low <= high else 0):
            while len(any_digits) < size:
                state = self._state()
                self.edges[state].append((ord("0"), ord("9"), any_digits[-1]))
                any_digits.append(state)
            smallest, largest = 10 ** (size - 1) if size > 1 else 0, 10**size - 1
            self._add_digits(str(max(low, smallest)), str(min(high, largest)), start, any_digits)

    def _add_digits(self, low: str, high: str, start: int, any_digits: list[int]) -> None:
        """Digit strings of one length from `low` to `high`."""
        rest = len(low) - 1
        first, last = ord(low[0]), ord(high[0])
        low_is_free, high_is_free = low[1:] == "0" * rest, high[1:] == "9" * rest
        if first == last and not (low_is_free and high_is_free):
            self._add_digits(low[1:], high[1:], self._step(start, first, first), any_digits)
            return
        if not low_is_free:
            self._add_digits(low[1:], "9" * rest, self._step(start, first, first), any_digits)
            first += 1
        if not high_is_free:
            self._add_digits("0" * rest, high[1:], self._step(start, last, last), any_digits)
            last -= 1
        if first <= last:
            self.edges[start].append((first, last, any_digits[rest]))


@lru_cache(256)
def utf8_sequences(ranges: Ranges) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Byte-range sequences that match exactly the UTF-8 of these code points, surrogates left out.

    Source: R. Cox's construction for RE2, as in Rust's `utf8-ranges`.
    """
    result = []
    stack = [(max(low, a), min(high, b)) for low, high in ranges for a, b in ((0, 0xD7FF), (0xE000, 0x10FFFF))]
    while stack:
        low, high = stack.pop()
        if low > high:
            continue
        split = _split_point(low, high)
        if split is not None:
            stack += [(low, split), (split + 1, high)]
        else:
            result.append(tuple(zip(chr(low).encode(), chr(high).encode(), strict=True)))
    return tuple(sorted(result))


def _split_point(low: int, high: int) -> int | None:
    """Where the range must be cut so that its UTF-8 is one product of byte ranges; None if it is one already."""
    for limit in (0x7F, 0x7FF, 0xFFFF):
        if low <= limit < high:
            return limit
    for bits in (6, 12, 18):
        mask = (1 << bits) - 1
        if high > 0x7F and low & ~mask != high & ~mask:
            if low & mask:
                return low | mask
            if high & mask != mask:
                return (high & ~mask) - 1
    return None
