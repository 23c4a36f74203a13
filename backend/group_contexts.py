"""The contexts of a group of engines: what each holds as tokens, and on which engines it is there.

A context is known by its tokens; on an engine it comes into being when a call needs it there, by fills from its
nearest ancestor on that engine. It keeps the identifier that its caller chose on every engine.

Counting: `children` are contexts that were made from this one and live; a context lives until its caller has freed
it, its generate has ended and it has no children. On engines it is given up earlier: as soon as its caller has freed
it and no child waits for an engine. Its tokens stay, so it can be made again anywhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from .engine import ROOT, EngineError, FillHint
from .group_member import Member

if TYPE_CHECKING:
    from .group_calls import GroupCall


KEY_BYTES = 16


class GroupContext:
    """One context. `tokens`: what it adds to its parent, known at once for fills; `key` stands for all tokens so far.

    `call`: the generate that makes it, until that has ended; `error`: why it can never be made; `source`: the nearest
    generate that its tokens depend on, itself included. `placed`: whether it is, or was, on an engine.
    """

    __slots__ = ("call", "children", "error", "freed", "hint", "identifier", "key", "label", "parent", "placed",
                 "places", "resident", "source", "tokens", "unplaced", "waiting")

    def __init__(self, identifier: int, parent: GroupContext | None, label: str, hint: FillHint) -> None:
        self.identifier = identifier
        self.parent = parent
        self.label = label
        self.hint = hint
        self.tokens: tuple[int, ...] = ()
        self.key = b""
        self.source: GroupContext | None = None
        self.call: GroupCall | None = None
        self.error: EngineError | None = None
        self.waiting: list[GroupCall] = []
        self.freed = False
        self.placed = False
        self.children = 0
        self.unplaced = 0
        """Children that are on no engine yet."""
        self.places: set[Member] = set()
        """Engines that hold the context under its identifier."""
        self.resident: set[Member] = set()
        """Engines that count its tokens among those that they have."""

    def make_key(self) -> None:
        """Its tokens, and the key of its parent, are known."""
        assert self.parent is not None
        data = array("q", self.tokens).tobytes()
        self.key = blake2b(data, key=self.parent.key, digest_size=KEY_BYTES).digest() if data else self.parent.key


class GroupContexts:
    """All contexts by the identifiers of their callers. Not safe for threads; the group locks."""

    def __init__(self) -> None:
        self.root = GroupContext(ROOT, None, "", FillHint())
        self.root.key = bytes(KEY_BYTES)
        self._known: dict[int, GroupContext] = {ROOT: self.root}
        self._live: set[GroupContext] = set()

    def __len__(self) -> int:
        """Contexts that live, the root aside."""
        return len(self._live)

    def find(self, identifier: int) -> GroupContext | None:
        """A context that its caller has not freed."""
        return self._known.get(identifier)

    def make(self, identifier: int, parent_id: int, label: str, hint: FillHint = FillHint()) -> GroupContext:
        """A new context. Raises ValueError for identifiers that are in use or unknown."""
        parent = self._known.get(parent_id)
        if parent is None:
            raise ValueError(f"context {parent_id} is unknown or freed")
        if identifier in self._known:
            raise ValueError(f"context {identifier} is in use")
        context = GroupContext(identifier, parent, label, hint)
        context.source = parent.source
        parent.children += 1
        parent.unplaced += 1
        self._known[identifier] = context
        self._live.add(context)
        return context

    def free(self, identifier: int) -> None:
        """Its caller gives it up. Raises ValueError for identifiers that are unknown."""
        if identifier == ROOT:
            raise ValueError("the root context is never freed")
        context = self._known.pop(identifier, None)
        if context is None:
            raise ValueError(f"context {identifier} is unknown or freed")
        context.freed = True
        self.tidy(context)

    def tidy(self, context: GroupContext | None) -> None:
        """Give up on engines what nobody needs there, and forget what nobody can ask for."""
        while context is not None and context.parent is not None and context.freed and context.call is None:
            if not context.unplaced:
                for member in context.places:
                    member.engine.free_context(context.identifier)
                context.places.clear()
            if context.children:
                return
            parent = context.parent
            self._set_placed(context, True)
            parent.children -= 1
            for member in context.resident:
                member.release(context.key)
            context.resident.clear()
            self._live.discard(context)
            context = parent

    # ---- on engines ----

    def bring(self, context: GroupContext, member: Member) -> None:
        """Make sure that an engine holds a context whose tokens are known.

        If its caller has freed it, the engine is told so by `started`, after the call that needs it was sent.
        """
        missing = []
        node = context
        while node.parent is not None and member not in node.places:
            missing.append(node)
            node = node.parent
        for node in reversed(missing):
            assert node.parent is not None
            member.engine.fill(node.tokens, node.identifier, node.parent.identifier, label=node.label, hint=node.hint)
            node.places.add(member)
            self._now_resident(node, member)
        for node in missing:
            self._set_placed(node, True)
            if node is not context:
                self.tidy(node)

    def started(self, context: GroupContext) -> None:
        """The generate of `context` was sent to an engine."""
        self._set_placed(context, True)
        self.tidy(context.parent)

    def finished(self, context: GroupContext, tokens: Sequence[int], member: Member) -> None:
        """The generate of `context` has ended on `member`, which holds the context now."""
        context.call = None
        context.tokens = tuple(tokens)
        context.make_key()
        context.places.add(member)
        self._now_resident(context, member)
        self.tidy(context)

    def failed(self, context: GroupContext, error: EngineError, member: Member | None) -> None:
        """`context` can never be made; `member` had begun to."""
        context.call = None
        context.error = error
        if member is not None and member.alive:
            member.engine.free_context(context.identifier)
        self.started(context)
        self.tidy(context)

    def lost(self, member: Member) -> None:
        """An engine is gone with all that it held."""
        member.lose()
        for context in self._live:
            context.places.discard(member)
            context.resident.discard(member)
            if not context.places and context.call is None and not context.freed:
                self._set_placed(context, False)

    def restart(self, context: GroupContext) -> None:
        """The generate of `context` has lost its engine."""
        self._set_placed(context, False)

    def _set_placed(self, context: GroupContext, placed: bool) -> None:
        if context.placed != placed and context.parent is not None:
            context.placed = placed
            context.parent.unplaced += -1 if placed else 1

    def _now_resident(self, context: GroupContext, member: Member) -> None:
        if context.tokens and member not in context.resident:
            context.resident.add(member)
            member.retain(context.key, len(context.tokens))

    # ---- reading ----

    def runs(self, context: GroupContext) -> tuple[tuple[bytes, int], ...]:
        """The tokens of a context, all known, from its begin on: keys and numbers of tokens."""
        path = []
        node: GroupContext | None = context
        while node is not None and node.parent is not None:
            path.append(node)
            node = node.parent
        for node in reversed(path):
            if not node.key:
                node.make_key()
        return tuple((node.key, len(node.tokens)) for node in reversed(path) if node.tokens)

    def check(self) -> None:
        """Raise AssertionError when counts and the tree disagree."""
        children: dict[GroupContext, int] = {}
        unplaced: dict[GroupContext, int] = {}
        for context in self._live:
            assert context.parent is not None
            children[context.parent] = children.get(context.parent, 0) + 1
            unplaced[context.parent] = unplaced.get(context.parent, 0) + (not context.placed)
        for context in (self.root, *self._live):
            name = f"context {context.identifier}"
            assert context.children == children.get(context, 0), f"{name} counts {context.children} children"
            assert context.unplaced == unplaced.get(context, 0), f"{name} counts {context.unplaced} unplaced children"
            if context.parent is not None:
                needed = context.children or context.call is not None or not context.freed
                assert needed, f"{name} is needed by nobody"
                assert context.parent is self.root or context.parent in self._live, f"{name} has lost its parent"
                assert not (context.freed and context.places and not context.unplaced and context.call is None), (
                    f"{name} is on an engine for nobody")
        self._check_known(self._known.values())

    def _check_known(self, known: Iterable[GroupContext]) -> None:
        alive = {context for context in self._live if not context.freed}
        assert alive == {context for context in known if context is not self.root}, "identifiers and contexts disagree"
