"""Which tokens a grammar allows in a state, and how few tokens complete the value from there.

A token is allowed where all its bytes are. A state of the search is a byte state and, inside a text with a
token bound, how many tokens have brought content to that text. A token that brings more is allowed only within the
bound, and only if a closing quote can still follow within it; so at most `max_tokens` tokens overlap the content of
a bounded text, whatever else they hold.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...ir.target import Tokenizer
from .byte_automaton import DEAD, UNREACHABLE, ByteAutomaton
from .recent_results import RecentResults
from .token_table import TokenSteps, TokenTable

# What a token means for bounded texts: it ends in the text that it began in; in a new one, with content; at the start
# of a new one. Plus CONTENT_BEFORE if it brings content to a text that it leaves.
SAME_TEXT, NEW_TEXT, AT_TEXT_START, CONTENT_BEFORE = 0, 1, 2, 3
KINDS = 6
NEVER_EXITS = 1 << 30


class TokenState(NamedTuple):
    """A byte state, and the tokens generated of the bounded text that it lies in (0 elsewhere)."""

    byte_state: int
    tokens_in_text: int


_NUMBERS = count()
MASKS: RecentResults[tuple[int, tuple[TokenState, int]], NDArray[np.uint8]] = RecentResults(2048)
"""Packed masks by automaton, state and budget: at most 20 kB each with 150,000 tokens."""
STEPS: RecentResults[tuple[int, int], TokenSteps] = RecentResults(24)
"""By automaton and byte state: at most 3 MB each with 150,000 tokens."""


class TokenAutomaton:
    """A grammar over tokens. What is computed of a state is kept for a while; several threads may share one."""

    def __init__(self, automaton: ByteAutomaton, table: TokenTable) -> None:
        self._number = next(_NUMBERS)
        self.bytes = automaton
        self.table = table
        self.start = TokenState(automaton.start, 0)
        dead = len(automaton.next)
        rows = np.vstack([automaton.next, np.full((1, 256), DEAD, dtype=np.int32)])
        self._next: NDArray[np.int32] = np.where(rows == DEAD, dead, rows).astype(np.int32)
        self._in_text: NDArray[np.bool_] = np.append(automaton.bound != UNREACHABLE, False)
        self._edges: dict[int, tuple[NDArray[np.int32], NDArray[np.int64]]] = {}
        self._distances: dict[TokenState, int] = {}
        self._more_than: dict[TokenState, int] = {}
        self._tokens_to_exit = self._find_tokens_to_exit()
        # Every byte is a token, so no value needs more tokens than bytes.
        self._enough = int(automaton.distance.max()) if table.has_all_bytes else None

    def is_accepting(self, state: TokenState) -> bool:
        """Whether the value may end here."""
        return bool(self.bytes.accepting[state.byte_state])

    def can_go_on(self, state: TokenState) -> bool:
        """Whether the grammar, whatever the budget, lets the value go on here."""
        return bool((self.bytes.next[state.byte_state] != DEAD).any())

    def minimum_tokens(self, state: TokenState) -> int:
        """Fewest tokens that complete the value from `state`; `UNREACHABLE` if no tokens do."""
        limit = int(self.bytes.distance[state.byte_state]) if self._enough is not None else UNREACHABLE
        return self._distance_within(state, limit)

    def fits(self, state: TokenState, budget: int) -> bool:
        """Whether the value can be completed within `budget` tokens."""
        distance = int(self.bytes.distance[state.byte_state])
        if self._enough is not None and distance <= budget:
            return True
        if distance > budget * self.table.longest:
            return False
        return self._distance_within(state, budget) <= budget

    def mask(self, state: TokenState, budget: int) -> NDArray[np.bool_]:
        """Tokens after which the value can still be completed within `budget` tokens in all, bool [vocabulary]."""
        unhurried = self._enough is not None and budget - 1 >= self._enough
        key = (state, UNREACHABLE if unhurried else budget)
        limit = None if unhurried else budget
        bits = MASKS.get((self._number, key), lambda: np.packbits(self._find_mask(state, limit)))
        return np.unpackbits(bits, count=len(self.table.tokens)).view(np.bool_)

    def _find_mask(self, state: TokenState, budget: int | None) -> NDArray[np.bool_]:
        steps = self._step(state.byte_state)
        kinds = self._kinds(state.byte_state, steps)
        legal = self._is_legal(state, steps.targets, kinds)
        if budget is not None:
            codes = steps.targets.astype(np.int64) * KINDS + kinds
            fits = np.zeros(KINDS * len(self._next), dtype=bool)
            for code in np.flatnonzero(np.bincount(codes[legal], minlength=len(fits))).tolist():
                fits[code] = self.fits(self._after(state, *divmod(code, KINDS)), budget - 1)
            legal &= fits[codes]
        mask = np.zeros(len(self.table.tokens), dtype=bool)
        mask[steps.tokens[legal]] = True
        return mask

    def advance(self, state: TokenState, token: int) -> TokenState:
        """The state after an allowed token."""
        previous = current = state.byte_state
        left = not self._in_text[current]
        for byte in self.table.tokens[token]:
            previous, current = current, int(self.bytes.next[current, byte])
            left = left or not self._in_text[current]
        assert current != DEAD, "a token that the grammar does not allow"
        entered = AT_TEXT_START if not self._in_text[previous] else NEW_TEXT
        return self._after(state, current, entered if left else SAME_TEXT)

    def _after(self, state: TokenState, byte_state: int, kind: int) -> TokenState:
        if not self._in_text[byte_state]:
            return TokenState(byte_state, 0)
        return TokenState(byte_state, (state.tokens_in_text + 1, 1, 0)[kind % CONTENT_BEFORE])

    def _step(self, byte_state: int) -> TokenSteps:
        return STEPS.get((self._number, byte_state), lambda: self.table.step(self._next, byte_state, self._in_text))

    def _kinds(self, byte_state: int, steps: TokenSteps) -> NDArray[np.int64]:
        """What each token means for bounded texts, int64 [n]."""
        if not self.bytes.has_bounds:
            return np.zeros(len(steps.tokens), dtype=np.int64)
        entered = np.where(self._in_text[steps.previous], NEW_TEXT, AT_TEXT_START)
        before = np.where(steps.closes_at_once | ~self._in_text[byte_state], 0, CONTENT_BEFORE)
        return np.where(steps.left_text, entered + before, SAME_TEXT)

    def _is_legal(self, state: TokenState, targets: NDArray[np.int32], kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each token leaves the texts that it brings content to their bounds, bool [n]."""
        if not self.bytes.has_bounds:
            return np.ones(len(targets), dtype=bool)
        counts = np.array([state.tokens_in_text + 1, 1, 0])[kinds % CONTENT_BEFORE]
        legal: NDArray[np.bool_] = counts + self._tokens_to_exit[targets] <= self.bytes.bound[targets]
        if state.tokens_in_text >= self.bytes.bound[state.byte_state]:
            legal &= kinds < CONTENT_BEFORE
        return legal

    def _find_tokens_to_exit(self) -> NDArray[np.int64]:
        """For states in a bounded text: fewest tokens after which a closing quote may follow. 0 elsewhere."""
        cost = np.where(self.bytes.can_exit | ~self._in_text[:-1], 0, NEVER_EXITS)
        targets = {}
        for state in np.flatnonzero(cost).tolist():
            steps = self._step(state)
            targets[state] = np.unique(steps.targets[~steps.left_text])
        changed = bool(targets)
        while changed:
            changed = False
            for state, reached in targets.items():
                best = int(cost[reached].min(initial=NEVER_EXITS)) + 1
                if best < cost[state]:
                    cost[state], changed = best, True
        return cost

    # ---- distances ----

    def _distance_within(self, state: TokenState, limit: int) -> int:
        """The exact distance of `state` in tokens if it is at most `limit`, else UNREACHABLE."""
        if state not in self._distances and self._more_than.get(state, -1) < limit:
            self._explore(state, limit)
        distance = self._distances.get(state, UNREACHABLE)
        return distance if distance <= limit else UNREACHABLE

    def _explore(self, start: TokenState, limit: int) -> None:
        """Find the distances of all states around `start` that a search of `limit` tokens can prove."""
        depth = {start: 0}
        sources: dict[TokenState, list[TokenState]] = {}
        frontier = [start]
        while frontier and depth[frontier[0]] < limit:
            following = []
            for state in frontier:
                for after in self._successors(state):
                    sources.setdefault(after, []).append(state)
                    if after not in depth:
                        depth[after] = depth[state] + 1
                        following.append(after)
            frontier = following
        steps = 0
        found = {state: 0 for state in depth if self.is_accepting(state)}
        frontier = list(found)
        while frontier:
            steps += 1
            before = {s for state in frontier for s in sources.get(state, ()) if s not in found}
            found.update(dict.fromkeys(before, steps))
            frontier = list(before)
        # A path that the search cut off is longer than `limit` from the start, so these distances are exact.
        self._distances.update({s: d for s, d in found.items() if depth[s] + d <= limit})
        if found.get(start, UNREACHABLE) > limit:
            self._more_than[start] = limit

    def _successors(self, state: TokenState) -> list[TokenState]:
        """States after one allowed token."""
        edges = self._edges.get(state.byte_state)
        if edges is None:
            steps = self._step(state.byte_state)
            codes = steps.targets.astype(np.int64) * KINDS + self._kinds(state.byte_state, steps)
            present = np.flatnonzero(np.bincount(codes, minlength=1))
            edges = self._edges[state.byte_state] = ((present // KINDS).astype(np.int32), present % KINDS)
        targets, kinds = edges
        legal = self._is_legal(state, targets, kinds)
        pairs = zip(targets[legal].tolist(), kinds[legal].tolist(), strict=True)
        return [self._after(state, target, kind) for target, kind in pairs]


class _ByDigest:
    """A tokenizer that equals others with the same digest."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and other.tokenizer.digest == self.tokenizer.digest

    def __hash__(self) -> int:
        return hash(self.tokenizer.digest)


@lru_cache(8)
def _token_table(tokenizer: _ByDigest, size: int) -> TokenTable:
    return TokenTable([tokenizer.tokenizer.token_bytes(i) for i in range(size)])


@lru_cache(64)
def _cached_automaton(automaton: ByteAutomaton, tokenizer: _ByDigest, size: int) -> TokenAutomaton:
    return TokenAutomaton(automaton, _token_table(tokenizer, size))


def token_automaton(automaton: ByteAutomaton, tokenizer: Tokenizer, vocabulary_size: int) -> TokenAutomaton:
    """The automaton over the first `vocabulary_size` tokens; cached by grammar and tokenizer."""
    return _cached_automaton(automaton, _ByDigest(tokenizer), vocabulary_size)
