"""Calls that decode again: their next step follows from the one before, without looking at anything twice.

As long as no call comes, goes or waits for something that a step can give it, every call of a step adds one token to
the end of its own context. Then nothing is planned anew: each row takes the slot after its last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .context_tree import ContextTree, Mark, Node
from .model_runner import StepBatch
from .step_plan import Work


class GoingOn(Protocol):
    """The rows of a step that follows from the one before."""

    batch: StepBatch

    def commit(self) -> None:
        """The step has been computed."""

    def works(self) -> list[Work]:
        """The step, row by row."""


class SteadyRows:
    """The rows of a step of `batch`, one for each of `tips`: the ends of the contexts that the step computes."""

    def __init__(self, tree: ContextTree, tips: Sequence[Mark], batch: StepBatch) -> None:
        self._tree = tree
        self._tips = tips
        self.nodes: list[Node] = [tip.node for tip in tips]
        """What the rows grow."""
        self.batch = batch
        self.steps = 0
        """How many steps have been begun since."""

    def begin_next(self) -> bool:
        """Make `batch` the next step and reserve its slots; False, and nothing is done, where a row cannot go on so."""
        tree, nodes = self._tree, self.nodes
        if tree.allocator.free_pages < len(nodes):
            return False
        for tip, node in zip(self._tips, nodes, strict=True):
            if tip.node is not node or not tree.lacks_one(tip):
                return False
        tokens = [node.tokens.last() for node in nodes]
        slots = [tree.reserve_next(node) for node in nodes]
        self.batch = self.batch.following(np.array(tokens, np.int64), np.array(slots, np.int64))
        self.steps += 1
        return True

    def commit(self) -> None:
        """The step has been computed."""
        self._tree.commit_next(self.nodes)

    def works(self) -> list[Work]:
        """The step, row by row."""
        return [Work(self._tree.path(tip), tip.position - 1, tip.position, slots, wants_logits=True, reserved=[node])
                for tip, node, slots in zip(self._tips, self.nodes, self.batch.slots[:, None], strict=True)]
