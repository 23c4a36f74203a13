"""`engine`: what runs. Contexts are owned: each is freed once, or moves out through a terminator.

Ownership: a value that holds a context (a `ctx`, or an aggregate of them) and is defined in a region is
either freed there once, after its last use, or is an operand of the region's terminator, which moves it out.
Uses copy: the body parameter of a fold is its own reference, and so is a context taken from a list.
A value from an outer region is never freed inside; yielding it copies.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Op, Root, Symbol, TokenList, Value, Word
from ..definition import AttributeDefinition, Level, OpDefinition, Trait
from ..types import CTX, TOKENS, Text, holds_context
from .checks import generate_results, result_types, trailing_operands, values_only
from .prompt import ROLES, SAMPLING

ENGINE = frozenset({Level.ENGINE})


def _is_context(op: Op) -> bool:
    return bool(op.args) and isinstance(op.args[0], Value) and op.args[0].type == CTX


def _fill(op: Op) -> Iterator[str]:
    from_root = bool(op.args) and isinstance(op.args[0], Root)
    if not from_root and not _is_context(op):
        yield "engine.fill takes a ctx or `engine.root` first"
    if "model" in op.attributes and not from_root:
        yield "the model of a context is chosen by its fill from `engine.root`"
    for piece in op.args[1:]:
        is_value = isinstance(piece, Value) and (isinstance(piece.type, Text) or piece.type == TOKENS)
        is_role = isinstance(piece, Word) and piece.name == "role" and len(piece.arguments) == 1 and (
            piece.arguments[0] in ROLES)
        if not is_value and not is_role and not isinstance(piece, str | TokenList):
            yield "a piece is a constant text, tokens, a value of type text or tokens, or `role(name)`"
    spaced = op.attributes.get("spaced", ())
    if isinstance(spaced, tuple) and any(not isinstance(i, int) or not 0 <= i < len(op.args) - 1 for i in spaced):
        yield "`spaced` names pieces by their number, from 0"
    yield from result_types(op, CTX)


def _generate(op: Op) -> Iterator[str]:
    if not _is_context(op):
        yield "engine.generate takes a ctx first"
    yield from trailing_operands(op, 1)
    yield from generate_results(op, CTX)


def _free(op: Op) -> Iterator[str]:
    yield from values_only(op.args, op.name)
    if not op.args or not all(holds_context(v.type) for v in op.operands):
        yield "engine.free takes one or more values that hold contexts"
    yield from result_types(op)


def _group(op: Op) -> Iterator[str]:
    if len(op.args) != 1 or not isinstance(op.args[0], Symbol):
        yield "engine.group takes its name `@group`"
    yield from result_types(op)


DEFINITIONS = (
    OpDefinition(
        "engine.fill", "The context followed by pieces: tokens, text values, or `role(name)` where it is known late.",
        "ctx | engine.root, pieces…", "ctx", frozenset({Trait.PURE, Trait.CONTEXT}), ENGINE,
        (AttributeDefinition("model", "text", "model alias of a fill from `engine.root`"),
         AttributeDefinition("spaced", "ints", "which pieces have one space before the value"),
         AttributeDefinition("roles", "words",
                             "roles that its scaffolds begin, where a later role is known in the run only"),
         AttributeDefinition("shared", "int", "number of contexts that continue this one", merge=False),
         AttributeDefinition("early", "int", "generates before its use from which on spare tokens compute it",
                             merge=False),
         AttributeDefinition("uses", "ints", "generates from the region's beginning to each use of the context",
                             merge=False),
         AttributeDefinition("stream", "int", "piece that is filled while its generate runs", merge=False)),
        check=_fill),
    OpDefinition(
        "engine.generate", "Decodes an output; gives its value and the context that holds it.",
        "ctx, options…, indices…", "T, ctx[, list<record>]",
        frozenset({Trait.SAMPLED, Trait.CONTEXT}), ENGINE, SAMPLING, check=_generate),
    OpDefinition("engine.free", "Gives up contexts, after every other use of them.", "ctx…", "",
                 frozenset({Trait.EFFECTFUL}), ENGINE, check=_free),
    OpDefinition(
        "engine.group", "Declares a task group.", "@group", "", frozenset({Trait.EFFECTFUL}), ENGINE,
        (AttributeDefinition("objective", "objective", "objective of the group", merge=False),
         AttributeDefinition("batch", "int", "calls to run together", merge=False),
         AttributeDefinition("alone", "int", "calls to run together while no urgent call decodes, if others",
                             merge=False),
         AttributeDefinition("step_tokens", "int", "prompt tokens in a step while urgent calls decode", merge=False),
         AttributeDefinition("size", "int", "calls in the group", merge=False),
         AttributeDefinition("engines", "int", "over how many engines of its model it is spread", merge=False),
         AttributeDefinition("depth", "int", "generates between the group and a result", merge=False)),
        check=_group),
)
