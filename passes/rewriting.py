"""Replacing values by others."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.core import Op, Value


class Replacements:
    """Values that stand for others. Chains are followed and shortened, so any number of them stays linear."""

    def __init__(self) -> None:
        self._next: dict[Value, Value] = {}

    def __len__(self) -> int:
        return len(self._next)

    def __contains__(self, value: Value) -> bool:
        return value in self._next

    def add(self, old: Value, new: Value) -> None:
        """From now on `new` stands for `old`."""
        new = self.find(new)
        if new is not old:
            self._next[old] = new

    def find(self, value: Value) -> Value:
        """The value that finally stands for `value`."""
        following = self._next
        if value not in following:
            return value
        path = []
        while value in following:
            path.append(value)
            value = following[value]
        for passed in path:
            following[passed] = value
        return value

    def rewrite(self, op: Op) -> None:
        """Replace the operands of `op` itself."""
        following = self._next
        if following:
            for arg in op.args:
                if isinstance(arg, Value) and arg in following:
                    op.args = [self.find(a) if isinstance(a, Value) else a for a in op.args]
                    return

    def apply(self, ops: Iterable[Op]) -> None:
        """Replace operands everywhere inside `ops`."""
        if self._next:
            stack = list(ops)
            while stack:
                op = stack.pop()
                self.rewrite(op)
                for region in op.regions:
                    stack.extend(region.ops)

