"""The bytes of a vocabulary's tokens, laid out so that an automaton can be stepped through all of them at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TokenSteps(NamedTuple):
    """Where n tokens lead from one state."""

    tokens: NDArray[np.int64]
    """Their ids."""
    targets: NDArray[np.int32]
    """The states after them."""
    previous: NDArray[np.int32]
    """The states before their last bytes."""
    left_text: NDArray[np.bool_]
    """Whether any state, the first and the last one included, lies outside all bounded texts."""
    closes_at_once: NDArray[np.bool_]
    """Whether the first byte leads out of a bounded text."""


class TokenTable:
    """`tokens`: the bytes of each id. Tokens without bytes (special ones) take no part.

    Inside, tokens are sorted by falling length, so that those with a byte at some position come first.
    """

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens
        lengths = np.array([len(t) for t in tokens], dtype=np.int64)
        order = np.argsort(-lengths, kind="stable")
        self._order = order[: np.count_nonzero(lengths)]
        self._lengths = lengths[self._order]
        self.longest = int(lengths.max(initial=0))
        data = np.frombuffer(b"".join(tokens), dtype=np.uint8)
        offsets = np.concatenate(([0], np.cumsum(lengths)))[:-1][self._order]
        counts = [int(np.count_nonzero(self._lengths > position)) for position in range(self.longest)]
        self._columns = [data[offsets[:count] + position] for position, count in enumerate(counts)]
        self._by_first_byte = [np.flatnonzero(self._columns[0] == byte) for byte in range(256)] if counts else []
        self.has_all_bytes = {t for t in tokens if len(t) == 1} == {bytes([byte]) for byte in range(256)}

    def step(self, next: NDArray[np.int32], start: int, bounded: NDArray[np.bool_]) -> TokenSteps:
        """Step every token from state `start`; only tokens that reach a live state are returned.

        `next`: int32 [states, 256], whose last row is the dead state and leads to itself.
        `bounded`: bool [states], whether a state lies in a bounded text.
        """
        dead = len(next) - 1
        first_bytes = np.flatnonzero(next[start] != dead).tolist() if self._columns else []
        groups = [self._by_first_byte[byte] for byte in first_bytes]
        index = np.sort(np.concatenate(groups)) if groups else np.empty(0, dtype=np.int64)
        current = next[start, self._columns[0][index]] if len(index) else np.empty(0, dtype=np.int32)
        previous = np.full(len(index), start, dtype=np.int32)
        left = ~(bounded[start] & bounded[current])
        closes = bounded[start] & ~bounded[current]
        tracks_texts = bool(bounded.any())
        for position in range(1, self.longest):
            live = current != dead
            if 2 * np.count_nonzero(live) < len(live):
                index, current, previous = index[live], current[live], previous[live]
                left, closes = left[live], closes[live]
            size = int(np.searchsorted(-self._lengths[index], -position, side="left"))
            if size == 0:
                break
            moved = next[current[:size], self._columns[position][index[:size]]]
            if tracks_texts:
                previous[:size] = current[:size]
                left[:size] |= ~bounded[moved]
            current[:size] = moved
        live = current != dead
        return TokenSteps(self._order[index[live]], current[live], previous[live], left[live], closes[live])
