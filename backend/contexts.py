"""KV contexts at run time: handles that free themselves, and the pieces of a prompt as tokens.

A context lives for as long as a slot, list or record of a live region instance holds its handle: `engine.free`
empties a slot, and the end of an instance empties all of its slots. The last holder's end is noted in `released`
and passed on to the engine by the executor's own thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..ir.core import Op, Root, TokenList, Word
from .engine import ROOT, Engine, FillHint, PeakWatch, WatchesKV
from .run_log import LoggedFill, LoggedFree, RunLog

_identifiers = count(ROOT + 1)
"""Identifiers of contexts are never used twice in a process, so runs may share an engine."""


class TokenChain:
    """The tokens of a context, last run first; kept only when calls are recorded."""

    __slots__ = ("ids", "parent")

    def __init__(self, parent: TokenChain | None, ids: Sequence[int]) -> None:
        self.parent = parent
        self.ids = tuple(ids)

    def tokens(self) -> tuple[int, ...]:
        """All tokens, in order."""
        runs = []
        chain: TokenChain | None = self
        while chain is not None:
            runs.append(chain.ids)
            chain = chain.parent
        return tuple(token for run in reversed(runs) for token in run)


@dataclass(eq=False)
class EngineBinding:
    """One engine of a run. `live`: identifiers of contexts that this run has to free."""

    engine: Engine
    record_tokens: bool = False
    live: set[int] = field(default_factory=set)
    released: deque[int] = field(default_factory=deque)
    swept: int = 0
    """Contexts that nothing had released when the run ended; 0 unless the run was cancelled or broke."""
    number: int = 0
    """Among the engines of the run."""
    log: RunLog = field(default_factory=RunLog)
    _watch: PeakWatch | None = None

    def begin(self) -> None:
        """The run begins: note the KV memory that is in use from now on, where the engine can tell."""
        if isinstance(self.engine, WatchesKV):
            self._watch = self.engine.watch_kv()

    def end(self) -> None:
        """The run has ended."""
        if self._watch is not None and isinstance(self.engine, WatchesKV):
            self.engine.end_watch(self._watch)

    @property
    def peak_kv_tokens(self) -> int:
        """The most KV tokens that the engine's live contexts held since the run began, other runs' included."""
        return self.engine.stats().peak_kv_tokens if self._watch is None else self._watch.peak_kv_tokens

    def free_released(self) -> None:
        """Tell the engine which contexts nobody holds any more."""
        while self.released:
            identifier = self.released.popleft()
            self.live.discard(identifier)
            self.log.note(LoggedFree(self.number, identifier))
            self.engine.free_context(identifier)

    def sweep(self) -> None:
        """Free every context that is left."""
        self.free_released()
        self.swept += len(self.live)
        for identifier in sorted(self.live):
            self.engine.free_context(identifier)
        self.live.clear()


class Context:
    """A handle of one KV context. `length`: tokens, BOS excluded. `is_start`: no piece has been added yet.

    `roles`: the role parts so far, which decide the chat template's text before the next one.
    """

    __slots__ = ("binding", "chain", "identifier", "is_start", "length", "roles")

    def __init__(self, binding: EngineBinding, *, length: int, roles: tuple[str, ...], is_start: bool,
                 chain: TokenChain | None) -> None:
        self.binding = binding
        self.identifier = next(_identifiers)
        self.length = length
        self.roles = roles
        self.is_start = is_start
        self.chain = chain
        binding.live.add(self.identifier)

    def __del__(self) -> None:
        # Any thread may drop the last reference, so the engine is called later, by the executor's own.
        if self.identifier in self.binding.live:
            self.binding.released.append(self.identifier)

    def __repr__(self) -> str:
        return f"<context {self.identifier}: {self.length} tokens>"


@dataclass(frozen=True)
class Encoded:
    """What pieces become: the tokens, all roles so far, and whether a first piece is still to come."""

    ids: list[int]
    roles: tuple[str, ...]
    is_start: bool


def encode(binding: EngineBinding, parent: Context | None, pieces: Sequence[Any], *, spaced: frozenset[int],
           roles: tuple[str, ...], measure: Callable[[int, int], None] | None = None) -> Encoded:
    """The tokens of `pieces` after `parent` (None for the empty context); `spaced` ones get one space in front.

    A piece is a TokenList, a text (tokenized by itself) or a word `role(name)`; `roles` are those that begin inside
    the token lists, before any such word. `measure` is told the position and tokens of each text.
    Raises TokenizerError.
    """
    tokenizer = binding.engine.tokenizer
    roles = (*parent.roles, *roles) if parent else roles
    is_start = parent is None or parent.is_start
    ids: list[int] = []
    for position, piece in enumerate(pieces):
        if isinstance(piece, TokenList):
            ids.extend(piece.ids)
        elif isinstance(piece, Word):
            (argument,) = piece.arguments
            role = argument.name if isinstance(argument, Word) else str(argument)
            ids.extend(tokenizer.encode_scaffold(tokenizer.role_scaffold(roles, role)))
            roles = (*roles, role)
        else:
            assert isinstance(piece, str), f"a piece is text, not {type(piece).__name__}"
            encoded = tokenizer.encode_piece(" " + piece if position in spaced else piece, first=is_start)
            if measure is not None:
                measure(position, len(encoded))
            ids.extend(encoded)
        is_start = False
    return Encoded(ids, roles, is_start)


def fill(binding: EngineBinding, parent: Context | None, encoded: Encoded, *, label: str, hint: FillHint = FillHint(),
         resident: tuple[int, int] | None = None) -> Context:
    """The context of `parent` (None for the empty one) followed by `encoded`.

    `resident`: a context that holds so many of these tokens after `parent` already. Raises EngineError.
    """
    context = extended(binding, parent, encoded.ids, roles=encoded.roles, is_start=encoded.is_start)
    binding.log.note(LoggedFill(binding.number, context.identifier, parent.identifier if parent else ROOT, encoded.ids))
    start, done = resident or (parent.identifier if parent else ROOT, 0)
    binding.engine.fill(encoded.ids[done:], context.identifier, start, label=label, hint=hint)
    return context


def new_identifier() -> int:
    """An identifier for a context that no handle stands for."""
    return next(_identifiers)


def extended(binding: EngineBinding, parent: Context | None, ids: Sequence[int], *, roles: tuple[str, ...] = (),
             is_start: bool = False) -> Context:
    """A new handle for `parent` followed by `ids`; the engine is not told."""
    chain = None
    if binding.record_tokens:
        chain = TokenChain(parent.chain if parent else None, ids) if ids or not parent else parent.chain
    return Context(binding, length=(parent.length if parent else 0) + len(ids), roles=roles, is_start=is_start,
                   chain=chain)


def fill_attributes(op: Op) -> tuple[frozenset[int], tuple[str, ...]]:
    """The pieces of an `engine.fill` that get a space in front, and the roles that its token lists begin."""
    spaced, roles = op.attributes.get("spaced") or (), op.attributes.get("roles") or ()
    assert isinstance(spaced, tuple) and isinstance(roles, tuple)
    return (frozenset(number for number in spaced if isinstance(number, int)),
            tuple(role.name for role in roles if isinstance(role, Word)))


def is_root(value: Any) -> bool:
    """Whether an operand is the literal `engine.root`."""
    return isinstance(value, Root)
