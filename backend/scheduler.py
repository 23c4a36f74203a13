"""Which tokens the next step computes: continuous batching over the context tree, under KV pressure too.

Calls are served in one strict order (objective, group, depth, arrival). A step takes one token of every call that
is decoding and fills up with prompt chunks, within `max_step_tokens` tokens and `max_batch` rows. KV room is found
in this order: free pages; cached KV that nobody needs, least recently used first; KV of contexts that this step
does not need, least recently used and least urgent first (their tokens stay, their KV is computed again later).
The most urgent call may take everything, so it always finishes.

Fills are computed when a call needs them. Spare tokens of a step compute `early` fills, but only in pages that are
free or hold nothing but cache, and all but the last token: the call that wants its logits computes that one.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from .context_tree import ContextTree, Mark, Node
from .decoding.output_decoder import OutputDecoder
from .early_fills import EarlyFills, EarlyTokens
from .engine import EngineStats
from .kv_room import KVRoom
from .step_plan import Work


@dataclass(eq=False)
class Call:
    """A generate that is being decoded. `tip` is the end of its context so far, `base` its prompt's end (a position).

    `order`: (objective, group, depth, arrival), smaller is more urgent.
    """

    order: tuple[int, int, int, int]
    tip: Mark
    base: int
    decoder: OutputDecoder
    fed: int = 0
    """Tokens of the decoder that the context holds already."""


@dataclass
class Plan:
    """One step: what to compute, and the calls that wait for each row of logits, in the order of works."""

    works: list[Work] = field(default_factory=list)
    consumers: list[list[Call]] = field(default_factory=list)


class Scheduler:
    """Plans steps over `tree`. The KV slots from the allocator's capacity on are scratch, one for each row."""

    def __init__(self, tree: ContextTree, *, max_step_tokens: int, max_batch: int, stats: EngineStats) -> None:
        self._tree = tree
        self._max_step_tokens = max_step_tokens
        self._max_batch = max_batch
        self._room = KVRoom(tree, stats)
        self.calls: list[Call] = []
        """Most urgent first."""
        self.early = EarlyFills()
        """Fills that may be computed before anything needs them."""
        self._early_tokens = EarlyTokens()
        self._step = 0
        self._plan = Plan()
        self._rows: dict[tuple[int, int], list[Call]] = {}
        self._tokens_left = 0
        self._prompt_tokens_left = 0
        self._memory_full = False

    def add(self, call: Call) -> None:
        """Schedule `call` from the next step on."""
        insort(self.calls, call, key=lambda c: c.order)

    def remove(self, call: Call) -> None:
        """Forget `call` (finished, failed or aborted)."""
        self.calls.remove(call)

    def plan(self) -> Plan:
        """The next step; without works when nothing can be computed."""
        self._step = self._room.begin_step()
        self._plan, self._rows, self._memory_full = Plan(), {}, False
        decoding = sum(1 for call in self.calls[: self._max_batch] if self._missing(call) <= 1)
        self._tokens_left = self._max_step_tokens
        self._prompt_tokens_left = max(1, self._max_step_tokens - decoding)
        # Calls beyond these would find no row; the factor is for calls that wait for a prompt computed in this step.
        for call in self.calls[: 2 * self._max_batch]:
            if self._is_full():
                break
            self._consider(call)
        if self.early and not self._memory_full:
            self._fill_early()
        return self._plan

    def _is_full(self) -> bool:
        return self._tokens_left == 0 or len(self._plan.works) == self._max_batch

    def _missing(self, call: Call) -> int:
        return call.tip.position - self._tree.first_missing(call.tip)[0]

    def _consider(self, call: Call) -> None:
        """Plan the next tokens of `call`, if there is room for them."""
        row = (call.tip.node.id, call.tip.position)
        if row in self._rows:
            self._rows[row].append(call)
            return
        path = self._tree.path(call.tip)
        self._room.pin(path)
        if self._missing(call) == 0:
            self._add_row(self._again(path, call.tip), row, call)
            return
        holder = self._tree.first_missing(call.tip)[1]
        assert holder is not None
        if holder.computing == self._step:
            return  # its prompt is being computed in this step, for a call before it
        count = self._make_room(call, holder)
        if count > 0:
            work = self._reserve(path, self._tree.first_missing(call.tip)[0], count, call.tip.position, call.base)
            self._add_row(work, row, call)

    def _add_row(self, work: Work, row: tuple[int, int], call: Call) -> None:
        self._plan.works.append(work)
        size = work.end - work.first
        self._tokens_left -= size
        if size > 1 or not work.wants_logits:
            self._prompt_tokens_left = max(0, self._prompt_tokens_left - size)
        if work.wants_logits:
            self._rows[row] = [call]
            self._plan.consumers.append(self._rows[row])

    def _make_room(self, call: Call, holder: Node) -> int:
        """How many of the missing tokens of `call` to compute now; their pages are free then."""
        tree, allocator = self._tree, self._tree.allocator
        missing = self._missing(call)
        count = min(missing, self._tokens_left if missing == 1 else min(self._tokens_left, self._prompt_tokens_left))
        if tree.new_pages_for(holder, count) == 0 or count == 0:
            return count
        if self._memory_full:
            return 0
        is_first = not self._plan.works
        # A prompt starts only where all of it fits and those before it can go on; a decoding call takes what it needs.
        wanted = tree.new_pages_for(holder, missing) + (len(self._plan.works) if missing > 1 else 0)
        if allocator.free_pages >= wanted or (self._room.available_pages() >= wanted and self._room.free(wanted)):
            return count
        if not is_first:
            self._memory_full = True
            return 0
        self._room.free(wanted)
        count = min(count, tree.room_for(holder))
        if count == 0:  # everything left is its own, in half-used pages: begin again, contiguously
            self._room.drop_everything()
            missing = self._missing(call)
            count = min(missing, self._tokens_left if missing == 1 else self._prompt_tokens_left)
        return count

    def _again(self, path: list[Node], tip: Mark) -> Work:
        """Compute the last token once more, into a scratch slot: its KV is resident, its logits are not."""
        scratch = np.array([self._tree.allocator.capacity + len(self._plan.works)], dtype=np.int64)
        refilled = int(tip.node.parent is not None)
        return Work(path, tip.position - 1, tip.position, scratch, wants_logits=True, refilled=refilled)

    def _reserve(self, path: list[Node], first: int, count: int, position: int, base: int) -> Work:
        """Take slots for `count` tokens from `first` on, on the way to `position`; the prompt ends at `base`."""
        work = Work(path, first, first + count, np.empty(0, dtype=np.int64), wants_logits=first + count == position)
        slots = []
        for node in path:
            begin, end = max(first, node.start), min(first + count, node.end)
            if begin >= end:
                continue
            slots.append(self._tree.reserve(node, end - begin))
            node.computing = self._step
            work.reserved.append(node)
            if node.parent is not None:
                known = min(max(node.start + node.computed, begin), end)
                work.refilled += known - begin
                work.filled += max(0, min(end, base) - known)
        work.slots = slots[0] if len(slots) == 1 else np.concatenate(slots)
        return work

    def _fill_early(self) -> None:
        """Compute fills that nothing needs yet with what is left of the step; only cached KV makes way for them."""
        plan, tree = self._plan, self._tree
        tokens = self._early_tokens.beside if plan.works else self._early_tokens.alone
        tokens = min(tokens, self._tokens_left, self._prompt_tokens_left)
        done = []
        for context, mark in self.early.candidates(self._step):
            if tokens == 0 or len(plan.works) == self._max_batch:
                break
            first, holder = tree.first_missing(mark)
            count = min(mark.position - 1 - first, tokens)
            if count <= 0:
                done.append(context)
            elif holder is not None and holder.computing != self._step:
                if not self._room.free(tree.new_pages_for(holder, count) + len(plan.works), cached_only=True):
                    self.early.no_room(self._step)
                    break
                work = self._reserve(tree.path(mark), first, count, mark.position, mark.position)
                work.is_early = True
                plan.works.append(work)
                tokens -= count
        for context in done:
            self.early.discard(context)
