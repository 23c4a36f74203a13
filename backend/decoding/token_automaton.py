"""Which tokens a grammar allows in a state, and how few tokens complete the value from there.

A token is allowed where all its bytes are. A state of the search is a byte state and, inside a text with a
token bound, how many tokens of that text have been generated: tokens that end inside the text and bring content
to it. Such a token is allowed only while the text can still be closed within its bound; so a bounded text never
has more than `max_tokens` tokens, the one that closes it aside.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...ir.target import Tokenizer
from .byte_automaton import DEAD, ByteAutomaton

UNREACHABLE = np.iinfo(np.int64).max
SAME_TEXT, NEW_TEXT, AT_TEXT_START = 0, 1, 2
CACHED_MASKS = 256


class TokenState(NamedTuple):
    """A byte state, and the tokens generated of the bounded text that it lies in (0 elsewhere)."""

    byte_state: int
    count: int


class TokenTable:
    """The bytes of all tokens, in a form that many tokens can be stepped through at once."""

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens
        self.lengths = np.array([len(t) for t in tokens], dtype=np.int64)
        self.bytes = np.frombuffer(b"".join(tokens), dtype=np.uint8)
        self.offsets = np.concatenate(([0], np.cumsum(self.lengths)))[:-1]
        usable = np.flatnonzero(self.lengths)
        first = self.bytes[self.offsets[usable]]
        self.by_first_byte = [usable[first == byte] for byte in range(256)]
        self.has_all_bytes = len(np.unique(self.bytes[self.offsets[self.lengths == 1]])) == 256


@lru_cache(8)
def _token_table(tokenizer: _ByDigest, size: int) -> TokenTable:
    return TokenTable([tokenizer.tokenizer.token_bytes(i) for i in range(size)])


class _ByDigest:
    """A tokenizer that equals others with the same digest."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and other.tokenizer.digest == self.tokenizer.digest

    def __hash__(self) -> int:
        return hash(self.tokenizer.digest)


class TokenAutomaton:
    """A grammar over tokens. Masks are computed when first asked for and kept (the last 256 of them)."""

    def __init__(self, automaton: ByteAutomaton, table: TokenTable) -> None:
        self.bytes = automaton
        self.table = table
        self.start = TokenState(automaton.start, 0)
        self._bound = np.array([*automaton.bounds, UNREACHABLE], dtype=np.int64)[automaton.region]
        self._masks: OrderedDict[TokenState, NDArray[np.bool_]] = OrderedDict()
        self._distances: dict[TokenState, int] | None = None
        self._tokens_to_exit = self._find_tokens_to_exit()
        # Every byte is a token, so no value needs more tokens than bytes.
        self._enough = int(automaton.distance.max()) if table.has_all_bytes else None

    def is_accepting(self, state: TokenState) -> bool:
        """Whether the value may end here."""
        return bool(self.bytes.accepting[state.byte_state])

    def minimum_tokens(self, state: TokenState) -> int:
        """Fewest tokens that complete the value from `state`; `UNREACHABLE` if no tokens do."""
        if self._distances is None:
            self._distances = self._find_distances()
        return self._distances.get(state, UNREACHABLE)

    def fits(self, state: TokenState, budget: int) -> bool:
        """Whether the value can be completed within `budget` tokens."""
        if self._enough is not None and budget >= self.bytes.distance[state.byte_state]:
            return True
        return self.minimum_tokens(state) <= budget

    def mask(self, state: TokenState, budget: int) -> NDArray[np.bool_]:
        """Tokens after which the value can still be completed within `budget` tokens in all, bool [vocabulary]."""
        if self._enough is not None and budget - 1 >= self._enough:
            return self._unhurried_mask(state)
        next_state, kind = self._step_all(state.byte_state)
        mask = self._legal(state, next_state, kind)
        tokens = np.flatnonzero(mask)
        codes, inverse = np.unique(next_state[tokens] * 3 + kind[tokens], return_inverse=True)
        fits = [self.fits(self._after(state, int(c) // 3, int(c) % 3), budget - 1) for c in codes]
        mask[tokens] = np.array(fits, dtype=bool)[inverse]
        return mask

    def _unhurried_mask(self, state: TokenState) -> NDArray[np.bool_]:
        found = self._masks.get(state)
        if found is None:
            found = self._legal(state, *self._step_all(state.byte_state))
            if len(self._masks) >= CACHED_MASKS:
                self._masks.popitem(last=False)
            self._masks[state] = found
        else:
            self._masks.move_to_end(state)
        return found

    def advance(self, state: TokenState, token: int) -> TokenState:
        """The state after an allowed token."""
        current, previous, left = state.byte_state, DEAD, self.bytes.region[state.byte_state] < 0
        for byte in self.table.tokens[token]:
            previous, current = current, int(self.bytes.next[current, byte])
            left = left or self.bytes.region[current] < 0
        assert current != DEAD, "a token that the grammar does not allow"
        kind = SAME_TEXT
        if left:
            kind = AT_TEXT_START if self.bytes.region[previous] < 0 else NEW_TEXT
        return self._after(state, current, kind)

    def _after(self, state: TokenState, byte_state: int, kind: int) -> TokenState:
        if self.bytes.region[byte_state] < 0:
            return TokenState(byte_state, 0)
        return TokenState(byte_state, (state.count + 1, 1, 0)[kind])

    def _legal(self, state: TokenState, next_state: NDArray[np.int64], kind: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Tokens whose bytes are allowed and which leave every text its bound, bool [vocabulary]."""
        legal = next_state != DEAD
        if self.bytes.bounds:
            tokens = np.flatnonzero(legal)
            targets = next_state[tokens]
            counts = np.array([state.count + 1, 1, 0])[kind[tokens]]
            inside = self.bytes.region[targets] >= 0
            legal[tokens] = ~inside | (counts + self._tokens_to_exit[targets] <= self._bound[targets])
        return legal

    def _step_all(self, start: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """For every token the byte state that it leads to (or DEAD) and how it relates to the text it began in."""
        table, next_byte, region = self.table, self.bytes.next, self.bytes.region
        result = np.full(len(table.tokens), DEAD, dtype=np.int64)
        kinds = np.zeros(len(table.tokens), dtype=np.int8)
        alive_bytes = np.flatnonzero(next_byte[start] != DEAD)
        if len(alive_bytes) == 0:
            return result, kinds
        tokens = np.concatenate([table.by_first_byte[byte] for byte in alive_bytes])
        current = next_byte[start, table.bytes[table.offsets[tokens]]]
        previous = np.full(len(tokens), start, dtype=np.int32)
        left = np.full(len(tokens), region[start] < 0) | (region[current] < 0)
        position = 1
        while len(tokens):
            done = table.lengths[tokens] == position
            if done.any():
                finished = tokens[done]
                result[finished] = current[done]
                kinds[finished] = np.where(left[done], np.where(region[previous[done]] < 0, AT_TEXT_START, NEW_TEXT), SAME_TEXT)
            tokens, current, left = tokens[~done], current[~done], left[~done]
            previous, current = current, next_byte[current, table.bytes[table.offsets[tokens] + position]]
            alive = current != DEAD
            if not alive.all():
                tokens, current, previous, left = tokens[alive], current[alive], previous[alive], left[alive]
            left |= region[current] < 0
            position += 1
        return result, kinds

    def _find_tokens_to_exit(self) -> NDArray[np.int64]:
        """For states in a bounded text: fewest tokens after which a closing quote is next."""
        cost = np.where(self.bytes.can_exit, 0, 1 << 30)
        inside = np.flatnonzero(self.bytes.region >= 0)
        edges = {}
        for state in inside.tolist():
            next_state, kind = self._step_all(state)
            edges[state] = np.unique(next_state[(next_state != DEAD) & (kind == SAME_TEXT)])
        changed = len(inside) > 0
        while changed:
            changed = False
            for state, targets in edges.items():
                best = int(cost[targets].min()) + 1 if len(targets) else 1 << 30
                if best < cost[state]:
                    cost[state], changed = best, True
        return cost

    def _find_distances(self) -> dict[TokenState, int]:
        """Exact distances, in tokens, of all states that can be reached from the start."""
        sources: dict[TokenState, list[TokenState]] = {}
        edges: dict[int, list[tuple[int, int]]] = {}
        seen = {self.start}
        stack = [self.start]
        while stack:
            state = stack.pop()
            if state.byte_state not in edges:
                next_state, kind = self._step_all(state.byte_state)
                codes = np.unique(next_state[next_state != DEAD] * 3 + kind[next_state != DEAD])
                edges[state.byte_state] = [divmod(code, 3) for code in codes.tolist()]
            for target, kind_code in edges[state.byte_state]:
                after = self._after(state, target, kind_code)
                if self.bytes.region[target] >= 0 and after.count + self._tokens_to_exit[target] > self._bound[target]:
                    continue
                sources.setdefault(after, []).append(state)
                if after not in seen:
                    seen.add(after)
                    stack.append(after)
        distances = {state: 0 for state in seen if self.is_accepting(state)}
        frontier = list(distances)
        steps = 0
        while frontier:
            steps += 1
            before = [s for state in frontier for s in sources.get(state, ())]
            frontier = []
            for state in before:
                if state not in distances:
                    distances[state] = steps
                    frontier.append(state)
        return distances


@lru_cache(64)
def _cached_automaton(automaton: ByteAutomaton, tokenizer: _ByDigest, size: int) -> TokenAutomaton:
    return TokenAutomaton(automaton, _token_table(tokenizer, size))


def token_automaton(automaton: ByteAutomaton, tokenizer: Tokenizer, vocabulary_size: int) -> TokenAutomaton:
    """The automaton over the first `vocabulary_size` tokens; cached by grammar and tokenizer."""
    return _cached_automaton(automaton, _ByDigest(tokenizer), vocabulary_size)
