"""The pipelines of the optimisation levels, in the order in which their passes run."""

from __future__ import annotations

from collections.abc import Collection

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


OPT_IN: dict[str, tuple[str, ...]] = {"text": ("order-fields",)}
"""What runs besides, right after `inline`, where it is allowed that no more than this is preserved."""


def pipeline(level: int, allow: Collection[str] = ()) -> list[Pass]:
    """The passes of `-O{level}` with their default options, and those that `allow` lets run besides.

    KeyError for other levels than 0, 1, 2.
    """
    first, *rest = LEVELS[level]
    more = [name for preserved, names in OPT_IN.items() if preserved in allow for name in names]
    return [pass_class(name)() for name in (first, *more, *rest)]
