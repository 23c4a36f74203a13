"""Structure: known operations, regions that end in a terminator, values defined once and before every use.

These rules come first: the others, and passes, may rely on what they state.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Op, Region, Value
from ..definition import Trait
from ..dialects import DEFINITIONS
from .problem import Problem, View

RETURN, YIELD = "sem.return", "flow.yield"


def known_operations(view: View) -> Iterator[Problem]:
    """Every operation has a definition."""
    for op in view.ops:
        if op.name not in DEFINITIONS:
            yield Problem(op, f"unknown operation `{op.name}`")


def declarations_at_top(view: View) -> Iterator[Problem]:
    """Declarations, and nothing else, stand at the top level; they have no results."""
    top = set(view.top)
    for op in view.ops:
        is_declaration = op.name in DEFINITIONS and Trait.DECLARATION in DEFINITIONS[op.name].traits
        if is_declaration and op not in top:
            yield Problem(op, f"{op.name} must stand at the top level of a module")
        elif not is_declaration and op in top:
            yield Problem(op, f"{op.name} must not stand at the top level of a module")
        elif is_declaration and (op.results or len(op.args) != 1):
            yield Problem(op, f"{op.name} has one argument, its symbol, and no results")


def objects_once(view: View) -> Iterator[Problem]:
    """An operation or region object stands at one place; walking would meet it twice otherwise."""
    seen: set[Op | Region] = set()
    for op in view.ops:
        items: list[Op | Region] = [op, *op.regions]
        for item in items:
            if item in seen:
                yield Problem(op, "the same operation or region stands at two places of the module")
                return
            seen.add(item)


def regions_end(view: View) -> Iterator[Problem]:
    """Operations have the regions of their definition, and each region ends in the only terminator that it holds."""
    for op in view.ops:
        definition = DEFINITIONS[op.name]
        count = len(definition.keywords) + 1 if definition.regions else 0
        if len(op.regions) != count:
            yield Problem(op, f"{op.name} has {count} regions, not {len(op.regions)}")
            continue
        terminator = RETURN if Trait.DECLARATION in definition.traits else YIELD
        for region in op.regions:
            if not region.ops or region.ops[-1].name != terminator:
                yield Problem(region.ops[-1] if region.ops else op, f"a region of {op.name} must end in {terminator}")
            for inner in region.ops[:-1]:
                if inner.name in (RETURN, YIELD):
                    yield Problem(inner, f"{inner.name} must stand at the end of a region")
        if op.results and Trait.TERMINATOR in definition.traits:
            yield Problem(op, f"{op.name} has no results")


def defined_once(view: View) -> Iterator[Problem]:
    """A value is the result of one operation or the parameter of one region."""
    defined: set[Value] = set()
    for op in view.ops:
        for value in (*op.results, *(p for r in op.regions for p in r.parameters)):
            if value in defined:
                yield Problem(op, f"%{value.name} is defined twice")
            defined.add(value)


def dominance(view: View) -> Iterator[Problem]:
    """An operand is defined earlier in its region or in one around it, in the same top-level operation."""
    for top in view.top:
        yield from _dominance(top)


def _dominance(top: Op) -> Iterator[Problem]:
    visible: set[Value] = set()
    yield from _unseen(top, visible)
    # For each open operation: itself, the regions that are left, the operations left and the values of this region.
    nothing: Iterator[Op] = iter(())
    stack = [(top, iter(top.regions), nothing, list[Value]())]
    while stack:
        owner, regions, ops, defined = stack.pop()
        op = next(ops, None)
        if op is not None:
            stack.append((owner, regions, ops, defined))
            yield from _unseen(op, visible)
            if op.regions:
                stack.append((op, iter(op.regions), nothing, []))
            else:
                visible.update(op.results)
                defined.extend(op.results)
            continue
        visible.difference_update(defined)
        region = next(regions, None)
        if region is not None:
            visible.update(region.parameters)
            stack.append((owner, regions, iter(region.ops), list(region.parameters)))
        elif stack:
            visible.update(owner.results)
            stack[-1][3].extend(owner.results)


def _unseen(op: Op, visible: set[Value]) -> Iterator[Problem]:
    for value in op.operands:
        if value not in visible:
            yield Problem(op, f"the operand %{value.name} is not defined before this use, or not in a region around it")


FIRST = (known_operations, objects_once)
"""Without these the others cannot look at a module."""
RULES = (declarations_at_top, regions_end, defined_once, dominance)
