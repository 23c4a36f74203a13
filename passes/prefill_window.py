"""How long before its use a prefix may be filled, so that early KV never pushes out what is needed sooner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..ir.core import Module, Op, Region
from ..ir.target import Target
from .cost_model import cost_model_of
from .forecast import forecast
from .next_uses import NextUses
from .static_knowledge import static_knowledge

LOOKAHEAD = 64
"""Generates by which a fill is early at most; nothing is gained by more."""


@dataclass(frozen=True)
class EarlyFill:
    """A fill that could be early: its constant tokens, and the step of its region that uses it first."""

    op: Op
    tokens: int
    step: int


def windows(module: Module, target: Target, uses: NextUses, fills: Iterable[EarlyFill]) -> dict[Op, int]:
    """From how many generates before its use on each fill may be computed; 0 is not early.

    The KV memory that the predicted peak leaves free is shared by the early fills of a region: at any step those
    that are held early fit into it, the soonest used first. In a loop's body each turn needs as much again.
    """
    regions: dict[Region, list[EarlyFill]] = {}
    for fill in fills:
        regions.setdefault(uses.region(fill.op), []).append(fill)
    spare = _spare_tokens(module, target, uses) if regions else None
    found: dict[Op, int] = {}
    for region, members in regions.items():
        loop = uses.around(region).name in ("flow.fold", "flow.loop")
        span = max(1, round(uses.order.of(region).span))
        longest = LOOKAHEAD if loop else min(LOOKAHEAD, max(fill.step for fill in members) + 1)
        window = longest if spare is None else _widest(members, spare, longest, span if loop else None)
        for fill in members:
            found[fill.op] = window if loop else min(window, fill.step + 1)
    return found


def _spare_tokens(module: Module, target: Target, uses: NextUses) -> int | None:
    """KV tokens that the predicted peak leaves free; None where the memory is not known."""
    slots = target.model("").kv_slots
    program = next((op for op in module.ops if op.name == "sem.program"), None)
    if slots is None or program is None:
        return None
    expected = forecast(program, uses.order, static_knowledge(module, target), cost_model_of(target))
    return max(0, slots - expected.peak_kv_tokens)


def _widest(fills: list[EarlyFill], spare: int, longest: int, span: int | None) -> int:
    """The widest window in which the fills held early at once fit into `spare` tokens; 0 where none does.

    `span`: generates of one turn where the region is the body of a loop.
    """
    low, high = 0, longest
    while low < high:
        middle = (low + high + 1) // 2
        if _most_held(fills, middle, span) <= spare:
            low = middle
        else:
            high = middle - 1
    return low


def _most_held(fills: list[EarlyFill], window: int, span: int | None) -> int:
    """Tokens that fills hold at most before their use when each may begin `window` generates before it."""
    if span is not None:
        return sum(fill.tokens * -(-window // span) for fill in fills)
    changes: dict[int, int] = {}
    for fill in fills:
        begin = max(-1, fill.step - window)
        changes[begin] = changes.get(begin, 0) + fill.tokens
        changes[fill.step] = changes.get(fill.step, 0) - fill.tokens
    held = most = 0
    for step in sorted(changes):
        held += changes[step]
        most = max(most, held)
    return most
