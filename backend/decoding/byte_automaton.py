"""Deterministic automata over bytes, compiled from regular expressions by `outlines-core`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from outlines_core import Index, Vocabulary

from ..engine import EngineError
from .grammar import enter_marker, exit_marker

DEAD = -1


class ByteAutomaton:
    """States are 0..n-1, all of them on a way from `start` to an accepting state.

    `next`: int32 [states, 256], DEAD where a byte is not allowed; `accepting`: bool [states];
    `distance`: int64 [states], fewest bytes to an accepting state;
    `region`: int64 [states], index of the token bound that a state's text is under, or -1;
    `to_exit`: whether a region state can be left by a closing quote at once.
    """

    def __init__(self, next: NDArray[np.int32], accepting: NDArray[np.bool_], start: int, bounds: tuple[int, ...] = ()) -> None:
        self.bounds = bounds
        region = np.full(len(next), -1, dtype=np.int64)
        can_exit = np.zeros(len(next), dtype=bool)
        for index in range(len(bounds)):
            start = _remove_markers(next, region, can_exit, start, index)
        keep = _useful_states(next, accepting, start)
        renumbered = np.full(len(next) + 1, DEAD, dtype=np.int32)  # the last entry stands for DEAD itself
        renumbered[keep] = np.arange(len(keep))
        self.next: NDArray[np.int32] = renumbered[next[keep]]
        self.accepting: NDArray[np.bool_] = accepting[keep]
        self.region: NDArray[np.int64] = region[keep]
        self.can_exit: NDArray[np.bool_] = can_exit[keep]
        self.start = int(renumbered[start])
        self.distance = _byte_distances(self.next, self.accepting)

    @property
    def is_empty(self) -> bool:
        """Whether no text at all matches."""
        return self.start == DEAD

    def with_optional_space(self) -> ByteAutomaton:
        """The automaton of a space and a text of this one, or of a text of this one that begins with no space."""
        first = self.next[self.start].copy()
        first[ord(" ")] = self.start
        result = ByteAutomaton.__new__(ByteAutomaton)
        result.bounds = self.bounds
        result.next = np.vstack([self.next, first[None]])
        result.accepting = np.append(self.accepting, self.accepting[self.start])
        result.region = np.append(self.region, -1)
        result.can_exit = np.append(self.can_exit, False)
        result.start = len(self.next)
        result.distance = _byte_distances(result.next, result.accepting)
        return result


@lru_cache(256)
def compile_pattern(pattern: str, bounds: tuple[int, ...] = ()) -> ByteAutomaton:
    """The automaton of whole texts that match `pattern`. Raises EngineError for what is no regular expression."""
    bytes_vocabulary = Vocabulary(256, {bytes([byte]): [byte] for byte in range(256)})
    try:
        index = Index(pattern, bytes_vocabulary)
    except Exception as error:  # the library raises ValueError and others
        raise EngineError(f"the pattern {pattern!r} cannot be used: {error}") from error
    numbers: dict[int, int] = {}
    transitions: dict[int, dict[int, int]] = index.get_transitions()
    final: set[int] = set(index.get_final_states())
    start: int = index.get_initial_state()
    for state in [start, *transitions, *final]:
        numbers.setdefault(state, len(numbers))
    next_state = np.full((len(numbers), 256), DEAD, dtype=np.int32)
    for state, row in transitions.items():
        targets = next_state[numbers[state]]
        for byte, target in row.items():
            if byte < 256:  # 256 is the end of the text
                targets[byte] = numbers[target]
    accepting = np.zeros(len(numbers), dtype=bool)
    accepting[[numbers[state] for state in final]] = True
    automaton = ByteAutomaton(next_state, accepting, numbers[start], bounds)
    if automaton.is_empty:
        raise EngineError(f"no text matches the pattern {pattern!r}")
    return automaton


def _remove_markers(
    next: NDArray[np.int32], region: NDArray[np.int64], can_exit: NDArray[np.bool_], start: int, index: int
) -> int:
    """Make the markers of bound `index` empty words, label the states between them; the new start state."""
    enter, leave = enter_marker(index), exit_marker(index)
    alias = np.arange(len(next) + 1, dtype=np.int32)
    alias[-1] = DEAD
    outside = np.flatnonzero(next[:, enter] != DEAD)
    alias[outside] = next[outside, enter]  # a state before the marker has no other way on
    inside = np.flatnonzero(next[:, leave] != DEAD)
    can_exit[inside] = True
    quotes = next[next[inside, leave], ord('"')]
    pending = list(next[outside, enter])
    next[:, enter] = DEAD
    next[inside, leave] = DEAD
    while pending:
        state = pending.pop()
        if region[state] != index:
            region[state] = index
            targets = next[state]
            pending.extend(np.unique(targets[targets != DEAD]).tolist())
    next[inside, ord('"')] = quotes
    next[:] = alias[next]
    return int(alias[start])


def _useful_states(next: NDArray[np.int32], accepting: NDArray[np.bool_], start: int) -> NDArray[np.int64]:
    """States that can be reached from `start` and from which an accepting state can be reached."""
    reached = np.zeros(len(next), dtype=bool)
    reached[start] = True
    frontier = np.array([start])
    while len(frontier):
        targets = np.unique(next[frontier])
        frontier = targets[(targets != DEAD) & ~reached[targets]]
        reached[frontier] = True
    return np.flatnonzero(reached & (_byte_distances(next, accepting) < np.iinfo(np.int64).max))


def _byte_distances(next: NDArray[np.int32], accepting: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Fewest bytes from each state to an accepting one; the largest int64 where there is no way."""
    states, byte = np.nonzero(next != DEAD)
    edges = np.unique(np.stack([next[states, byte].astype(np.int64), states]), axis=1)
    begins = np.searchsorted(edges[0], np.arange(len(next) + 1))
    distance = np.full(len(next), np.iinfo(np.int64).max, dtype=np.int64)
    distance[accepting] = 0
    frontier = np.flatnonzero(accepting)
    steps = 0
    while len(frontier):
        steps += 1
        sources = np.unique(np.concatenate([edges[1, begins[s] : begins[s + 1]] for s in frontier]))
        frontier = sources[distance[sources] == np.iinfo(np.int64).max]
        distance[frontier] = steps
    return distance
