"""Plans of attention that live as long as their rows only grow."""

from __future__ import annotations

from ..planned_step import PlannedStep, SlotChain
from .plan import ItemPlan


class PlanCache:
    """The plans of the latest step by window and query heads of a KV head, grown from step to step where they can be.

    A window that holds the whole context of every row is none: then plans grow too. The others are made for each step,
    as are those that are `aligned`.
    """

    def __init__(self, *, aligned: bool = False) -> None:
        self._aligned = aligned
        self._step: PlannedStep | None = None
        self._longest = 0
        self._plans: dict[tuple[int | None, int], ItemPlan] = {}
        self._grown: dict[int, tuple[SlotChain, int, ItemPlan]] = {}
        """By query heads of a KV head: the chain, the age of the step that the plan is for, and the plan."""

    def begin(self, step: PlannedStep) -> None:
        """The plans asked for from now on are those of `step`."""
        self._step, self._plans = step, {}
        self._longest = int(step.positions.max(initial=-1)) + 1

    @property
    def kv_tokens_read(self) -> int:
        """Keys that a layer reads in this step, of the plans asked for; the largest."""
        return max((plan.kv_tokens_read for plan in self._plans.values()), default=0)

    def plan(self, group: int, window: int | None) -> ItemPlan:
        """The plan for layers with `group` query heads for each KV head and a sliding window, or none."""
        assert self._step is not None, "a step begins before its plans are asked for"
        if window is not None and window >= self._longest:
            window = None
        plan = self._plans.get((window, group))
        if plan is None:
            plan = self._plans[window, group] = self._make(self._step, group, window)
        return plan

    def _make(self, step: PlannedStep, group: int, window: int | None) -> ItemPlan:
        if self._aligned:
            return ItemPlan(step.runs, step.segments, group=group, window=window, aligned=True)
        if window is not None or not step.can_be_followed:
            return ItemPlan(step.runs, step.segments, group=group, window=window)
        plan = self._grow(step, group)
        if plan is None:
            plan = ItemPlan(step.runs, step.segments, group=group, growing=True)
        self._grown[group] = step.chain, step.age, plan
        return plan

    def _grow(self, step: PlannedStep, group: int) -> ItemPlan | None:
        """The plan of an earlier step of the same chain, made that of `step`; None where there is none."""
        chain, age, plan = self._grown.pop(group, (None, 0, None))
        if chain is not step.chain or age > step.age or plan is None:
            return None
        for slots in chain.slots_between(age + 1, step.age + 1) if age < step.age else ():
            if not plan.grow(slots):
                return None
        return plan
