"""A `flow.for` over the results of another `flow.for`, as one loop."""

from __future__ import annotations

from ..ir.core import Arg, Module, Op, Region, Value, use_counts, walk
from ..ir.types import EFFECT
from .regions import effect_operand, iterated
from .rewriting import Replacements


def fuse(module: Module) -> int:
    """Fuse every loop with those whose results only it uses, as its lists; how many loops went.

    The first loop must have no effects: the second one's host calls then keep their order. Both run as often as the
    shortest of all lists is long, so no body runs that did not run before.
    """
    total = 0
    if not any(op.name == "flow.for" for op in walk(module.ops)):
        return total
    while fused := _fuse_once(module):  # once more for each level of nested lists
        total += fused
    return total


def _fuse_once(module: Module) -> int:
    uses = use_counts(module.ops)
    replaced = Replacements()
    fused = 0
    stack = [region for op in module.ops for region in op.regions]
    while stack:
        region = stack.pop()
        fused += _fuse_region(region, uses, replaced)
        stack.extend(inner for op in region.ops for inner in op.regions)
    replaced.apply(module.ops)
    return fused


def _fuse_region(region: Region, uses: dict[Value, int], replaced: Replacements) -> int:
    makers: dict[Value, Op] = {}
    gone: set[Op] = set()
    for op in region.ops:
        if op.name != "flow.for":
            continue
        for list_ in iterated(op):
            maker = makers.get(list_) if isinstance(list_, Value) else None
            if maker is not None and maker not in gone and _only_used_by(maker, op, uses):
                _merge(maker, op, replaced)
                gone.add(maker)
        if effect_operand(op) is None and all(isinstance(a, Value) for a in op.regions[0].terminator.args):
            makers.update((r, op) for r in op.results if r.type != EFFECT)
    region.ops = [op for op in region.ops if op not in gone]
    return len(gone)


def _only_used_by(maker: Op, op: Op, uses: dict[Value, int]) -> bool:
    """Whether every use of the results of `maker` is a list of `op`."""
    lists = iterated(op)
    return all(uses.get(r, 0) == sum(a is r for a in lists) for r in maker.results)


def _merge(maker: Op, op: Op, replaced: Replacements) -> None:
    """Make `op` run the body of `maker` before its own."""
    first, second = maker.regions[0], op.regions[0]
    yielded = dict(zip(maker.results, first.terminator.args, strict=True))
    count = len(iterated(op))
    index, elements, effect = second.parameters[0], second.parameters[1 : 1 + count], second.parameters[1 + count :]
    lists: list[Arg] = []
    parameters: list[Value] = []
    joined = False
    for list_, parameter in zip(iterated(op), elements, strict=True):
        made = yielded.get(list_) if isinstance(list_, Value) else None
        if not isinstance(made, Value):
            lists.append(list_)
            parameters.append(parameter)
            continue
        replaced.add(parameter, made)
        if not joined:  # where the first of them stood, so that the first failed list stays the first
            joined = True
            lists.extend(maker.args)
            parameters.extend(first.parameters[1:])
    replaced.add(first.parameters[0], index)
    op.args = [*lists, *op.args[count:]]
    op.attributes.pop("stream", None)
    second.parameters = [index, *parameters, *effect]
    # The first body's list of operations grows, so a chain of many loops is fused in linear time.
    first.ops.pop()
    first.ops.extend(second.ops)
    second.ops = first.ops
