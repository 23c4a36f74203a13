"""`engine`: what runs. Contexts are owned: each is freed once, or moves out through a terminator.

Ownership: a value that holds a context (a `ctx`, or an aggregate of them) and is defined in a region is
either freed there once, after its last use, or is an operand of the region's terminator, which moves it out.
Uses copy: the body parameter of a fold is its own reference, and so is a context taken from a list.
A value from an outer region is never freed inside; yielding it copies.
"""

from __future__ import annotations

from ..definition import AttributeDefinition, Level, OpDefinition, Trait
from .prompt import SAMPLING

ENGINE = frozenset({Level.ENGINE})

DEFINITIONS = (
    OpDefinition(
        "engine.fill", "The context followed by pieces: tokens, text values, or `role(name)` where it is known late.",
        "ctx | engine.root, pieces…", "ctx", frozenset({Trait.PURE, Trait.CONTEXT}), ENGINE,
        (AttributeDefinition("model", "text", "model alias of a fill from `engine.root`"),
         AttributeDefinition("spaced", "ints", "which pieces have one space before the value"),
         AttributeDefinition("shared", "int", "number of contexts that continue this one", merge=False))),
    OpDefinition(
        "engine.generate", "Decodes an output; gives its value and the context that holds it.",
        "ctx, options…, indices…", "T, ctx[, list<record>]",
        frozenset({Trait.SAMPLED, Trait.CONTEXT}), ENGINE, SAMPLING),
    OpDefinition("engine.free", "Gives up contexts, after every other use of them.", "ctx…", "",
                 frozenset({Trait.EFFECTFUL}), ENGINE),
    OpDefinition(
        "engine.group", "Declares a task group.", "@group", "", frozenset({Trait.EFFECTFUL}), ENGINE,
        (AttributeDefinition("objective", "word", "objective of the group", merge=False),
         AttributeDefinition("batch", "int", "calls to run together", merge=False),
         AttributeDefinition("size", "int", "calls in the group", merge=False),
         AttributeDefinition("depth", "int", "generates between the group and a result", merge=False))),
)
