"""Operations of one branch that compute what operations of the other branch compute."""

from __future__ import annotations

from ..ir.core import Op, Value
from .effects import merge_key
from .rewriting import Replacements


class Twins:
    """The operations of one branch by what they compute, as far as their operands are known outside of it."""

    def __init__(self, depths: dict[Value, int], replaced: Replacements, depth: int) -> None:
        self._depths = depths
        self._replaced = replaced
        self._depth = depth
        self._waiting: dict[Value, list[Op]] = {}
        self._ready: dict[object, list[Op]] = {}

    def offer(self, op: Op) -> None:
        """Make an operation known: at once, or when its operands have left the branch."""
        inside = next((v for v in op.operands if self._depths[self._replaced.find(v)] >= self._depth), None)
        if inside is not None:
            self._waiting.setdefault(inside, []).append(op)
        elif op.results and not op.regions:
            self._ready.setdefault(self._key(op), []).append(op)

    def take(self, op: Op) -> Op | None:
        """An operation that computes what `op` does."""
        found = self._ready.get(self._key(op))
        return found.pop() if found else None

    def replace(self, twin: Op, op: Op) -> None:
        """From now on `op`, outside, stands for `twin`."""
        for old, new in zip(twin.results, op.results, strict=True):
            self._replaced.add(old, new)
        for old in twin.results:
            for user in self._waiting.pop(old, []):
                self.offer(user)

    def _key(self, op: Op) -> object:
        return merge_key(op), tuple(self._replaced.find(v) for v in op.operands)
