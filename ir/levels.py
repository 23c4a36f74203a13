"""Which stage a module has reached."""

from __future__ import annotations

from .core import Module, walk
from .definition import EVERY_LEVEL, Level
from .dialects import DEFINITIONS

PROGRAM = "sem.program"


def levels_of(module: Module) -> frozenset[Level]:
    """The levels that allow every operation of the module: several for a module without calls, prompts and contexts.

    Functions, calls and more than one program exist at level `sem` only; unknown operations are at every level.
    """
    levels = EVERY_LEVEL
    if sum(op.name == PROGRAM for op in module.ops) > 1:
        levels &= {Level.SEM}
    for name in {op.name for op in walk(module.ops)}:
        if name in DEFINITIONS:
            levels &= DEFINITIONS[name].levels
    return levels


def level_of(module: Module) -> Level:
    """The level of a module; where several fit, `prompt`, which is what a program without calls becomes first.

    ValueError when operations of different levels are mixed.
    """
    levels = levels_of(module)
    for level in (Level.PROMPT, Level.SEM, Level.ENGINE):
        if level in levels:
            return level
    raise ValueError("the module mixes operations of different levels")
