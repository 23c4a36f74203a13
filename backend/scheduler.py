"""Which tokens the next step computes: continuous batching over the context tree, under KV pressure too.

Calls are served in one strict order (`call_order`). A step takes one token of every call that is decoding and fills
up with prompt chunks, within `max_step_tokens` tokens and `max_batch` rows. No more calls of a group take part than
its `batch` says. While calls whose own latency counts are decoding, the others may add only so much to a step as
`passes.step_latency` says, but the first of them always goes on. KV room is found in this order: free pages; cached
KV that nobody needs, least recently used first; KV of contexts that this step does not need, least recently used and
least urgent first (their tokens stay, their KV is computed again later). The most urgent call may take everything, so
it always finishes.

Fills are computed when a call needs them. Spare tokens of a step compute `early` fills, but only in pages that are
free or hold nothing but cache, and all but the last token: the call that wants its logits computes that one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from ..passes.cost_model import CostModel
from ..passes.step_latency import STEP_SECONDS, prompt_tokens_in, spare_seconds
from .call_order import CallOrder, is_urgent
from .context_tree import ContextTree, Mark, Node
from .decoding.output_decoder import OutputDecoder
from .early_fills import EarlyFills, EarlyTokens
from .engine import EngineStats, Priority
from .kv_room import KVRoom
from .model_runner import StepBatch
from .steady_rows import GoingOn, SteadyRows
from .step_plan import Work, build_batch


def _order(call: Call) -> Any:
    return call.order


@dataclass(eq=False)
class Call:
    """A generate that is being decoded. `tip` is the end of its context so far, `base` its prompt's end (a position).

    `order`: smaller is served first.
    """

    order: CallOrder
    priority: Priority
    tip: Mark
    base: int
    decoder: OutputDecoder
    fed: int = 0
    """Tokens of the decoder that the context holds already."""
    waited: Counter[Wait] = field(default_factory=Counter)
    """Steps in which it got nothing, by reason; counted for traces only."""
    is_urgent: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_urgent = is_urgent(self.priority)


class Wait(StrEnum):
    """Why a call takes no part in a step."""

    FULL = "the step is full"
    BATCH = "its group has its batch"
    SHARED = "its prompt is computed for a call before it"
    MEMORY = "the KV memory is full"
    URGENT = "urgent calls are decoding"
    PROMPTS = "prompts before it take the step's tokens"


@dataclass
class Plan:
    """One step: what to compute, and the calls that wait for each row of logits, in the order of works.

    `steady`: the rows of a step that follows from the one before; then there are no `works`. `waiting`: how many calls
    take no part, by reason; filled in for traces only.
    """

    works: list[Work] = field(default_factory=list)
    consumers: list[list[Call]] = field(default_factory=list)
    waiting: Counter[Wait] = field(default_factory=Counter)
    steady: GoingOn | None = None
    repeats: bool = True
    """Whether calls that take no part would not do so in the next step either, as long as the others go on."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute."""
        return not self.works and self.steady is None

    def batch(self) -> StepBatch:
        """The step for the model."""
        return build_batch(self.works) if self.steady is None else self.steady.batch

    def all_works(self) -> list[Work]:
        """The works, those of a step that follows from another included."""
        return self.works if self.steady is None else self.steady.works()


LASTING = frozenset({Wait.FULL, Wait.BATCH, Wait.MEMORY})
"""What a call still waits for in the next step if the same calls go on: memory is only made when it is needed."""


class Scheduler:
    """Plans steps over `tree`. The KV slots from the allocator's capacity on are scratch, one for each row."""

    def __init__(self, tree: ContextTree, *, max_step_tokens: int, max_batch: int, stats: EngineStats,
                 costs: CostModel = CostModel(), early_tokens: EarlyTokens = EarlyTokens(),
                 trace: bool = False) -> None:
        self.costs = costs
        self._trace = trace
        self._tree = tree
        self._max_step_tokens = max_step_tokens
        self._max_batch = max_batch
        self._room = KVRoom(tree, stats)
        self.calls: list[Call] = []
        """Most urgent first."""
        self.early = EarlyFills()
        """Fills that may be computed before anything needs them."""
        self._early_tokens = early_tokens
        self._step = 0
        self._plan = Plan()
        self._steady: tuple[SteadyRows, Plan] | None = None
        self._rows: dict[tuple[int, int], list[Call]] = {}
        self._tokens_left = 0
        self._prompt_tokens_left = 0
        self._memory_full = False
        self._group_rows: Counter[str] = Counter()
        self._spare_seconds: float | None = None
        """What calls that are not urgent may still add to the step; None where that is not limited."""

    def add(self, call: Call) -> None:
        """Schedule `call` from the next step on."""
        self.disturb()
        insort(self.calls, call, key=_order)

    def remove(self, call: Call) -> None:
        """Forget `call` (finished, failed or aborted)."""
        self.disturb()
        index = bisect_left(self.calls, call.order, key=_order)
        assert self.calls[index] is call, "the order of a call does not change"
        del self.calls[index]

    def plan(self) -> Plan:
        """The next step; without works when nothing can be computed."""
        if self._steady is not None:
            if self._go_on(*self._steady):
                return self._plan
            self.disturb()
        self._step = self._room.begin_step()
        self._plan, self._rows, self._memory_full = Plan(), {}, False
        self._group_rows.clear()
        self._tokens_left = self._max_step_tokens
        self._limit_prompts()
        index = considered = 0
        # Calls beyond these would find no row; the factor is for calls that wait for a prompt computed in this step.
        while index < len(self.calls) and considered < 2 * self._max_batch and not self._is_full():
            call = self.calls[index]
            index += 1
            reason = self._wait_for_batch(call)
            if reason is None:
                considered += 1
                reason = self._consider(call)
            elif not self._trace:
                index = bisect_left(self.calls, call.order.after_group, lo=index, key=_order)
            if reason is not None:
                self._plan.repeats &= reason in LASTING
                if self._trace:
                    self._explain(call, reason)
        if self._trace:
            for call in self.calls[index:]:
                self._explain(call, Wait.FULL)
        if self.early and not self._memory_full:
            self._fill_early()
        return self._plan

    def commit(self, plan: Plan, batch: StepBatch) -> None:
        """The step of `plan` has been computed as `batch`: its KV is resident."""
        if plan.steady is not None:
            plan.steady.commit()
            return
        tree = self._tree
        tree.commit_next([work.reserved[0] for work in plan.works if work.is_next])
        for work in plan.works:
            if not work.is_next:
                for node in work.reserved:
                    tree.commit(node, early=work.is_early)
        if self._repeats(plan, batch):
            tips = [calls[0].tip for calls in plan.consumers]
            self._steady = SteadyRows(tree, tips, batch), plan

    def can_repeat(self, plan: Plan, batch: StepBatch) -> bool:
        """Whether the step after that of `plan`, computed as `batch`, has the same rows if all of its calls go on."""
        if self.early and self._has_early_work(len(plan.consumers)):
            return False
        return plan.steady is not None or self._repeats(plan, batch)

    def _repeats(self, plan: Plan, batch: StepBatch) -> bool:
        one_each = (len(plan.consumers) == len(plan.works) and all(work.reserved for work in plan.works)
                    and all(len(calls) == 1 for calls in plan.consumers))
        is_limited = self._spare_seconds is not None and not all(call.is_urgent for call in self.calls)
        is_told = self._trace and len(plan.consumers) < len(self.calls)
        return batch.can_be_followed and one_each and plan.repeats and not is_limited and not is_told

    def disturb(self) -> None:
        """Something may have changed: plan the next step from the start."""
        if self._steady is not None:
            rows, _ = self._steady
            self._steady = None
            if rows.steps:
                self._room.touch(rows.nodes, self._step)

    def _go_on(self, rows: SteadyRows, before: Plan) -> bool:
        """Plan the same calls for their next tokens; False where that is not what the next step is."""
        if (self.early and self._has_early_work(len(rows.nodes))) or not rows.begin_next():
            return False
        self._step = self._room.begin_step()
        self._plan = Plan(consumers=before.consumers, steady=rows)
        return True

    def _has_early_work(self, rows: int) -> bool:
        """Whether a fill could be computed early beside `rows` tokens."""
        if not self._early_tokens.beside(rows):
            return False
        for _, mark in self.early.candidates(self._step + 1):
            if mark.position - 1 > self._tree.first_missing(mark)[0]:
                return True
        return False

    def _limit_prompts(self) -> None:
        """Decide what is left for prompts, and for calls that are not urgent, beside the rows that decode."""
        decoding = urgent = read = 0
        for call in self.calls[: self._max_batch]:
            if self._missing(call) <= 1:
                decoding += 1
                if call.is_urgent and call.priority.slack < STEP_SECONDS:
                    urgent += 1
                    read += call.tip.position
        self._prompt_tokens_left = max(1, self._max_step_tokens - decoding)
        self._spare_seconds = spare_seconds(self.costs, urgent, read) if urgent else None

    def _explain(self, call: Call, reason: Wait) -> None:
        call.waited[reason] += 1
        self._plan.waiting[reason] += 1

    def _wait_for_batch(self, call: Call) -> Wait | None:
        group, batch = call.priority.group, call.priority.batch
        return Wait.BATCH if group is not None and batch and self._group_rows[group] >= batch else None

    def _is_full(self) -> bool:
        return self._tokens_left == 0 or len(self._plan.works) == self._max_batch

    def _missing(self, call: Call) -> int:
        """Tokens of its context that are not resident."""
        node = call.tip.node
        if node.resident:
            return max(0, call.tip.position - node.start - node.resident)
        return call.tip.position - self._tree.first_missing(call.tip)[0]

    def _consider(self, call: Call) -> Wait | None:
        """Plan the next tokens of `call`, if there is room for them; else the reason why it waits."""
        row = (call.tip.node.id, call.tip.position)
        if row in self._rows:
            self._rows[row].append(call)
            return None
        if not call.is_urgent and self._spare_seconds is not None and self._spare_seconds < 1e-9:
            return Wait.URGENT
        path = self._tree.path(call.tip)
        if self._tree.allocator.free_pages and not self._memory_full and self._tree.lacks_one(call.tip):
            self._room.pin(path)
            self._add_row(self._next(path, call), row, call)
            return None
        self._tree.claim(path, call.tip.position)
        self._room.pin(path)
        if self._missing(call) == 0:
            self._add_row(self._again(path, call.tip), row, call)
            return None
        holder = self._tree.first_missing(call.tip)[1]
        assert holder is not None
        if holder.computing == self._step:
            return Wait.SHARED
        count = self._make_room(call, holder)
        if count == 0:
            return Wait.PROMPTS if self._prompt_tokens_left == 0 and not self._memory_full else Wait.MEMORY
        work = self._reserve(path, self._tree.first_missing(call.tip)[0], count, call.tip.position, call.base)
        self._add_row(work, row, call)
        return None

    def _add_row(self, work: Work, row: tuple[int, int], call: Call) -> None:
        self._plan.works.append(work)
        size = work.end - work.first
        self._tokens_left -= size
        if work.is_prefill:
            self._prompt_tokens_left = max(0, self._prompt_tokens_left - size)
        if call.priority.group is not None:
            self._group_rows[call.priority.group] += 1
        if self._spare_seconds is not None and not call.is_urgent:
            self._spare_seconds -= self._added_seconds(work)
        if work.wants_logits:
            self._rows[row] = [call]
            self._plan.consumers.append(self._rows[row])

    def _added_seconds(self, work: Work) -> float:
        """What `work` adds to the step."""
        costs, size = self.costs, work.end - work.first
        if work.is_prefill:
            return size * (costs.prefill_token + costs.attention * work.end)
        return costs.decode_row + costs.kv_token * work.end

    def _most_tokens(self, call: Call) -> int:
        """How many tokens of `call` the step still has room for."""
        if self._missing(call) == 1:
            return min(1, self._tokens_left)
        most = min(self._tokens_left, self._prompt_tokens_left)
        if self._spare_seconds is not None and not call.is_urgent:
            most = min(most, prompt_tokens_in(self.costs, self._spare_seconds, call.tip.position))
        return most

    def _make_room(self, call: Call, holder: Node) -> int:
        """How many of the missing tokens of `call` to compute now; their pages are free then."""
        tree, allocator = self._tree, self._tree.allocator
        missing = self._missing(call)
        count = min(missing, self._most_tokens(call))
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
            count = min(missing, self._most_tokens(call))
        return count

    def _again(self, path: list[Node], tip: Mark) -> Work:
        """Compute the last token once more, into a scratch slot: its KV is resident, its logits are not."""
        scratch = np.array([self._tree.allocator.capacity + len(self._plan.works)], dtype=np.int64)
        refilled = int(tip.node.parent is not None)
        return Work(path, tip.position - 1, tip.position, scratch, wants_logits=True, refilled=refilled)

    def _next(self, path: list[Node], call: Call) -> Work:
        """Compute the token after those that the leaf of `path` holds; there is room for it."""
        tip, node = call.tip, call.tip.node
        node.computing = self._step
        slot = np.array([self._tree.reserve_next(node)], dtype=np.int64)
        return Work(path, tip.position - 1, tip.position, slot, wants_logits=True, reserved=[node],
                    filled=int(tip.position <= call.base), is_next=True)

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
        tokens = self._early_tokens.beside(sum(work.end - work.first for work in plan.works))
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
