"""Steps on a device that works beside the host: while one runs, the host hands the next one over.

A step of decoding calls is followed by another of the same calls before the host has seen its tokens: the device
feeds what it has chosen itself. What the host learns one step late it puts right then: a call that has ended, was
aborted or went another way has a row in the next step that nobody reads, and its KV slot is given back. So answers,
the tree, the prefix cache and the counted tokens are those of an engine that waits for every step.

The next step is handed over only where it is certain which calls it has: all rows decode one token each, nothing else
waits for room, and no row has a grammar, whose mask depends on the token before. Otherwise the engine waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .context_table import ContextTable
from .context_tree import ContextTree, Mark
from .device_runner import DeviceRunner, Following, PendingStep, TokenChoices
from .model_runner import StepBatch
from .sampling import TokenChoice
from .scheduler import Call, Plan, Scheduler
from .slot_loans import SlotLoans
from .step_plan import Work, build_batch


@dataclass
class _Running:
    """A step that was handed over. `places`: which of its tokens the calls of `plan` get, in order; None where the
    host chooses them from logits. `lent`: the slots of its rows where these are not in the tree yet."""

    plan: Plan
    batch: StepBatch
    pending: PendingStep
    places: NDArray[np.int64] | None
    start: float
    lent: list[int] | None = None


class _SteadyAhead:
    """The rows of a step ahead whose calls all did go on, each by a token at the end of its own node. As `SteadyRows`,
    but the slots are on loan until `commit`."""

    def __init__(self, tree: ContextTree, loans: SlotLoans, tips: list[Mark], slots: list[int],
                 batch: StepBatch) -> None:
        self._tree, self._loans, self._tips, self._slots = tree, loans, tips, slots
        self.nodes = [tip.node for tip in tips]
        self.batch = batch

    def commit(self) -> None:
        """The step has been computed."""
        self._loans.hand_all_over(self._slots, self.nodes)
        self._tree.commit_next(self.nodes)

    def works(self) -> list[Work]:
        """The step, row by row."""
        return [Work(self._tree.path(tip), tip.position - 1, tip.position, slots, wants_logits=True, reserved=[node])
                for tip, node, slots in zip(self._tips, self.nodes, self.batch.slots[:, None], strict=True)]


@dataclass(frozen=True)
class _Row:
    """One call's row of a step ahead: the token at `position`, its KV in `slot`."""

    call: Call
    position: int
    slot: int


@dataclass(frozen=True)
class _Ahead:
    """A step that was handed over before the tokens that it computes were known to the host."""

    rows: list[_Row]
    batch: StepBatch
    pending: PendingStep
    start: float
    repeats: bool


class Overlap:
    """Runs the steps of one engine. `commit` and `abandon` are what the engine does of a plan that was computed, or
    could not be; `now` gives the time. Only ids below `vocabulary_size` are chosen. Without `ahead`, the host waits for
    each step before it plans the next one."""

    def __init__(self, runner: DeviceRunner, tree: ContextTree, scheduler: Scheduler, table: ContextTable, *,
                 vocabulary_size: int, commit: Callable[[Plan, StepBatch, float], None],
                 abandon: Callable[[Plan, Exception], None], now: Callable[[], float], ahead: bool = True) -> None:
        self._runner = runner
        self._tree = tree
        self._scheduler = scheduler
        self._table = table
        self._vocabulary_size = vocabulary_size
        self._commit = commit
        self._abandon = abandon
        self._now = now
        self._goes_ahead = ahead
        self._longest = min(runner.context_length, tree.allocator.capacity)
        self._ahead: _Ahead | None = None
        self._others = 0
        """Calls that took no part in the last step that the scheduler planned."""
        self._disturbed = False
        self.loans = SlotLoans(tree)
        self.steps_ahead = 0
        """Steps that were handed over before the one before them had ended."""
        self.waited_seconds = 0.0
        """For steps to end."""

    def disturb(self) -> None:
        """A call has come: the next step has to be planned."""
        self._disturbed = True

    def step(self) -> bool:
        """Finish one step, with the next one handed over where possible; False when there was nothing to do."""
        running = self._resume()
        if running is None:
            plan = self._scheduler.plan()
            if plan.is_empty:
                return False
            running = self._begin(plan)
            if running is None:
                return True
        self._ahead = self._go_ahead(running)
        self._finish(running)
        return True

    def drop(self) -> None:
        """Forget the step that was handed over ahead."""
        if self._ahead is not None:
            for row in reversed(self._ahead.rows):
                self.loans.give_back(row.slot)
            self._ahead = None

    # ---- a step that the scheduler plans ----

    def _begin(self, plan: Plan) -> _Running | None:
        """Hand over the step of `plan`; None where that failed."""
        self._disturbed = False
        self._others = len(self._scheduler.calls) - sum(map(len, plan.consumers))
        start = self._now()
        try:
            batch = plan.batch()
            choices = self._choices(plan.consumers)
            pending = self._runner.submit(batch, choices)
        except Exception as error:  # whatever the model raises, its calls must learn of it
            self._abandon(plan, error)
            return None
        return _Running(plan, batch, pending, None if choices is None else np.arange(len(choices)), start)

    def _choices(self, consumers: Sequence[Sequence[Call]]) -> TokenChoices | None:
        """How the calls' tokens are to be chosen; None where the host has to see logits."""
        if any(call.decoder.needs_logits for calls in consumers for call in calls):
            return None
        choices = [call.decoder.choice() for calls in consumers for call in calls]
        rows = [row for row, calls in enumerate(consumers) for _ in calls]
        return TokenChoices.of(choices, rows, self._vocabulary_size)

    # ---- a step ahead of the host ----

    def _go_ahead(self, running: _Running) -> _Ahead | None:
        """Hand over the step after `running`, if it is certain which rows that has."""
        plan, scheduler = running.plan, self._scheduler
        if not self._goes_ahead or running.places is None or self._disturbed:
            return None
        if not scheduler.can_repeat(plan, running.batch):
            return None
        choices: list[TokenChoice] = []
        kept: list[int] = []
        positions = running.batch.positions.tolist()
        for number, ((call,), position) in enumerate(zip(plan.consumers, positions, strict=True)):
            if call.decoder.is_constrained:
                return None
            choice = call.decoder.choice_after()
            if choice is not None and position + 2 <= self._longest:  # or else the call ends with this step's token
                choices.append(choice)
                kept.append(number)
        others, rows = len(scheduler.calls) - len(plan.consumers), len(plan.consumers)
        others_may_enter = others > 0 and (len(kept) < rows or others != self._others)
        if not kept or others_may_enter or self._tree.allocator.free_pages < len(kept):
            return None
        batch = running.batch
        if len(kept) < rows:
            works = plan.all_works()
            batch = build_batch([works[number] for number in kept])
        slots = [self.loans.lend(slot) for slot in batch.slots.tolist()]
        following = Following(running.pending, running.places[kept])
        start = self._now()
        try:
            after = batch.following(np.zeros(len(kept), np.int64), np.array(slots, np.int64))
            pending = self._runner.submit(
                after, TokenChoices.of(choices, range(len(kept)), self._vocabulary_size), following)
        except Exception:  # the step is planned again, and what is wrong reaches its calls then
            for slot in reversed(slots):
                self.loans.give_back(slot)
            return None
        self.steps_ahead += 1
        found = [_Row(plan.consumers[number][0], position, slot)
                 for number, position, slot in zip(kept, after.positions.tolist(), slots, strict=True)]
        return _Ahead(found, after, pending, start, plan.repeats)

    def _resume(self) -> _Running | None:
        """The step that was handed over ahead, with the rows of those calls that did go on with the token fed."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        if all(map(self._is_steady, ahead.rows)):
            return self._resume_all(ahead)
        plan = Plan(repeats=ahead.repeats)
        places, lent = [], []
        for place, row in enumerate(ahead.rows):
            work = self._work_of(row)
            if work is None:
                self.loans.give_back(row.slot)
                continue
            plan.works.append(work)
            plan.consumers.append([row.call])
            places.append(place)
            lent.append(row.slot)
        if not places:
            return None
        batch = ahead.batch
        if len(places) < len(ahead.rows):
            batch = build_batch(plan.works)
        else:
            batch.token_ids[:] = [int(work.token_ids()[0]) for work in plan.works]
        return _Running(plan, batch, ahead.pending, np.array(places, np.int64), ahead.start, lent)

    def _is_steady(self, row: _Row) -> bool:
        """Whether the row's token came to the end of a node that has KV of all tokens before it."""
        tip = row.call.tip
        node = tip.node
        held = node.slots.size
        return (tip.position == row.position + 1 == node.start + held + 1 and node.tokens.size == held + 1
                and held == node.held == node.resident == node.computed == node.claimed > 0
                and self._table.is_running(row.call))

    def _resume_all(self, ahead: _Ahead) -> _Running:
        tips = [row.call.tip for row in ahead.rows]
        slots = [row.slot for row in ahead.rows]
        rows = _SteadyAhead(self._tree, self.loans, tips, slots, ahead.batch)
        ahead.batch.token_ids[:] = [node.tokens.last() for node in rows.nodes]
        plan = Plan(consumers=[[row.call] for row in ahead.rows], steady=rows, repeats=ahead.repeats)
        return _Running(plan, ahead.batch, ahead.pending, np.arange(len(tips)), ahead.start, slots)

    def _work_of(self, row: _Row) -> Work | None:
        """What the row computes, now that its token is known; None where nobody needs it."""
        tip = row.call.tip
        if not self._table.is_running(row.call) or tip.position != row.position + 1:
            return None
        first, node = self._tree.first_missing(tip)
        if first < row.position:
            return None
        path = self._tree.path(tip)
        self._tree.claim(path, tip.position)
        work = Work(path, row.position, tip.position, np.array([row.slot], np.int64), wants_logits=True)
        if first == tip.position:  # another context holds the same tokens
            work.refilled = 1
        elif node is not None:
            work.reserved = [node]
            work.refilled = int(node.computed > row.position - node.start)
        return work

    # ---- the end of a step ----

    def _finish(self, running: _Running) -> None:
        """Wait for a step, and give its calls their tokens."""
        plan = running.plan
        start = self._now()
        try:
            if running.places is None:
                logits = running.pending.logits()
            else:
                tokens = running.pending.tokens()[running.places]
        except Exception as error:  # whatever the device reports
            self.drop()
            self._give_back(running)
            self._abandon(plan, error)
            return
        self.waited_seconds += self._now() - start
        if running.lent is not None:
            self._scheduler.disturb()
        if running.lent is not None and plan.steady is None:
            for work, slot in zip(plan.works, running.lent, strict=True):
                if work.reserved:
                    self.loans.hand_over(slot, work.reserved[0])
                else:
                    self.loans.give_back(slot)
        self._commit(plan, running.batch, running.start)
        if running.places is None:
            self._table.advance(plan.consumers, logits)
        else:
            self._table.take([call for calls in plan.consumers for call in calls], tokens)

    def _give_back(self, running: _Running) -> None:
        for slot in reversed(running.lent or ()):
            self.loans.give_back(slot)
