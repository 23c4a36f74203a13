"""The pipelines of the optimisation levels, in the order in which their passes run."""

from __future__ import annotations

from .base import Pass
from .registry import pass_class

MANDATORY = ("inline", "tokenize", "dce", "lower-engine", "free-contexts")
"""What every level runs: without these a module does not reach the executor."""

LEVELS: dict[int, tuple[str, ...]] = {
    0: MANDATORY,
    1: ("inline", "fold", "cse", "dce", "prune-barriers", "fold", "cse", "dce", "tokenize", "bound-lengths",
        "lower-engine", "free-contexts"),
    2: ("inline", "fold", "cse", "dce", "prune-barriers", "licm", "fold", "cse", "dce", "tokenize", "hoist-prefixes",
        "bound-lengths", "lower-engine", "propagate-objectives", "fuse-task-groups", "size-batches",
        "plan-prefill", "place", "free-contexts"),
}


def pipeline(level: int) -> list[Pass]:
    """The passes of `-O{level}` with their default options; KeyError for other levels than 0, 1, 2."""
    return [pass_class(name)() for name in LEVELS[level]]
