"""Operations by themselves: the check of each definition, and types that belong to the level."""

from __future__ import annotations

from collections.abc import Iterator

from ..definition import Level
from ..dialects import DEFINITIONS
from ..levels import levels_of
from ..types import Ctx, Prompt, Type, contains
from .problem import Problem, View


def own_checks(view: View) -> Iterator[Problem]:
    """Arity, operand and result types, as the definition of the operation says."""
    for op in view.ops:
        for message in DEFINITIONS[op.name].check(op):
            yield Problem(op, message)


def types_of_level(view: View) -> Iterator[Problem]:
    """Contexts exist at level `engine` only, prompts before it only."""
    levels = levels_of(view.module)
    if levels == {Level.ENGINE}:
        kind: type[Type] = Prompt
    elif Level.ENGINE not in levels:
        kind = Ctx
    else:
        return
    for type, op in view.types.items():
        if contains(type, (kind,)):
            yield Problem(op, f"a {type} does not belong to this level")


RULES = (own_checks, types_of_level)
