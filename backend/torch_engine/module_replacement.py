"""Puts other modules in the place of those of a model."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_modules(model: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]) -> int:
    """Put what `replacement` gives, unless that is None, in the place of each module in `model`; how many it was."""
    count = 0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            new = replacement(child)
            if new is not None:
                setattr(module, name, new)
                count += 1
    return count
