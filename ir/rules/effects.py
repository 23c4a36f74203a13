"""Effects: a chain. On every path, each effect is used at most once, so that host calls have one order."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Value
from ..types import EFFECT
from .problem import Problem, View

BRANCHES = frozenset({"flow.if", "flow.try"})
"""Operations whose regions continue the effect operand itself; others hand it over as a parameter."""


def linear(view: View) -> Iterator[Problem]:
    """In each region, an effect is an operand of at most one operation.

    It is one that the region defines, or the effect operand of the `flow.if` or `flow.try` around it.
    """
    if EFFECT not in view.types:
        return
    for region, owner in view.owners.items():
        own = {p for p in region.parameters if p.type == EFFECT}
        used: set[Value] = set()
        for op in region.ops:
            for value in op.args:
                if not isinstance(value, Value) or value.type != EFFECT:
                    continue
                if value in used:
                    yield Problem(op, f"the effect %{value.name} is used a second time")
                elif value not in own and not (owner.name in BRANCHES and value in owner.args):
                    yield Problem(op, f"the effect %{value.name} is not an operand of the {owner.name} around")
                used.add(value)
            own.update(r for r in op.results if r.type == EFFECT)


RULES = (linear,)
