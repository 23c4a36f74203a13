"""The operations of each dialect, by name."""

from __future__ import annotations

from ..core import Op
from ..definition import OpDefinition, Trait
from . import engine, flow, prompt, sem

DEFINITIONS: dict[str, OpDefinition] = {
    d.name: d for dialect in (sem, flow, prompt, engine) for d in dialect.DEFINITIONS
}


def definition(op: Op) -> OpDefinition:
    """The definition of `op`; KeyError for a name that no dialect defines (the verifier reports it)."""
    return DEFINITIONS[op.name]


def has_trait(op: Op, trait: Trait) -> bool:
    """Whether the definition of `op` has `trait`."""
    return trait in DEFINITIONS[op.name].traits
