"""What rules look at, and what they find."""

from __future__ import annotations

from dataclasses import dataclass

from ..core import Module, Op, Region, walk
from ..types import Type


@dataclass(frozen=True)
class Problem:
    """What is wrong, and at which operation."""

    op: Op
    message: str


class View:
    """A module with what most rules walk it for: all operations outer before inner, regions, types."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.top = module.ops
        self.ops = list(walk(module.ops))
        self.owners: dict[Region, Op] = {}
        """The operation that each region belongs to, outer before inner."""
        self.types: dict[Type, Op] = {}
        """Each type of a result or parameter, and the first operation that has it."""
        types = self.types
        for op in self.ops:
            for result in op.results:
                if result.type not in types:
                    types[result.type] = op
            for region in op.regions:
                self.owners[region] = op
                for parameter in region.parameters:
                    types.setdefault(parameter.type, op)

    @property
    def regions(self) -> list[Region]:
        """Every region."""
        return list(self.owners)
