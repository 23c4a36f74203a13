"""`prompt`: the tokens of a prompt so far, as a value. Appending is pure, so sharing is merging."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Op, TokenList, Value, Word
from ..definition import HIGH, AttributeDefinition, OpDefinition, Trait
from ..types import PROMPT, TOKENS, Text
from .checks import generate_results, result_types, trailing_operands

CONTEXT = frozenset({Trait.PURE, Trait.CONTEXT})

SAMPLING = (
    AttributeDefinition("output", "text", "name of the output", True),
    AttributeDefinition("max_tokens", "int", "budget (256 unless given)"),
    AttributeDefinition("max_words", "int", "ends before word n+1"),
    AttributeDefinition("temperature", "float", "0 or absent is greedy"),
    AttributeDefinition("top_p", "float", "nucleus"),
    AttributeDefinition("top_k", "int", "most probable k"),
    AttributeDefinition("min_p", "float", "relative to the most probable"),
    AttributeDefinition("seed", "int", "replaces the run's seed in the stream key"),
    AttributeDefinition("stop", "texts", "the value ends before the earliest match"),
    AttributeDefinition("regex", "text", "the value matches it"),
    AttributeDefinition("choices", "texts", "the value is one of them"),
    AttributeDefinition("n", "int", "number of samples; the value is a list"),
    AttributeDefinition("logprobs", "int", "alternatives per token; adds a third result"),
    AttributeDefinition("strip_space", "bool", "the prompt's constant ended in one space: cut one from the value"),
    AttributeDefinition("options", "texts", "names of the options that are operands, after the context"),
    AttributeDefinition("indices", "int", "number of index operands, after the options: part of the stream key"),
    AttributeDefinition("stream", "text", "path of program, callee and ordinal, callee…: part of the stream key"),
    AttributeDefinition("objective", "objective", "deduced objective", merge=False),
    AttributeDefinition("slack", "float", "seconds to the critical path", merge=False),
    AttributeDefinition("depth", "int", "generates between this one and a result", merge=False),
    AttributeDefinition("group", "symbol", "task group", merge=False),
    AttributeDefinition("osl", "interval", "bounds of the output in tokens", merge=False),
)

ROLES = (Word("system"), Word("user"), Word("assistant"))


def takes_prompt(op: Op) -> Iterator[str]:
    """The first argument is a prompt."""
    if not op.args or not isinstance(op.args[0], Value) or op.args[0].type != PROMPT:
        yield f"{op.name} takes a prompt first"


def _start(op: Op) -> Iterator[str]:
    if op.args:
        yield "prompt.start takes no arguments"
    yield from result_types(op, PROMPT)


def _append(op: Op) -> Iterator[str]:
    yield from takes_prompt(op)
    piece = op.args[1] if len(op.args) == 2 else None
    if not isinstance(piece, str | TokenList) and not (
            isinstance(piece, Value) and (isinstance(piece.type, Text) or piece.type == TOKENS)):
        yield "prompt.append takes one piece: a constant text, tokens, or a value of type text or tokens"
    yield from result_types(op, PROMPT)


def _role(op: Op) -> Iterator[str]:
    yield from takes_prompt(op)
    if len(op.args) != 1:
        yield "prompt.role takes nothing but a prompt"
    if op.attributes.get("role") not in ROLES:
        yield "a role is system, user or assistant"
    yield from result_types(op, PROMPT)


def _generate(op: Op) -> Iterator[str]:
    yield from takes_prompt(op)
    yield from trailing_operands(op, 1)
    yield from generate_results(op, PROMPT)


DEFINITIONS = (
    OpDefinition(
        "prompt.start", "The empty prompt of a model.", "", "prompt", CONTEXT, HIGH,
        (AttributeDefinition("model", "text", "model alias; absent for the default model"),), check=_start),
    OpDefinition(
        "prompt.append", "The prompt followed by one piece: constant text, tokens, or a text value.",
        "prompt, text | tokens | value", "prompt", CONTEXT, HIGH,
        (AttributeDefinition("space", "bool", "one space stands before the value and is tokenized with it"),
         AttributeDefinition("role", "word",
                             "the role that a scaffold begins, where a later role is known in the run only")),
        check=_append),
    OpDefinition(
        "prompt.role", "Begins a part with a role: the chat template's text between the last part and this one.",
        "prompt", "prompt", CONTEXT, HIGH,
        (AttributeDefinition("role", "word", "system, user or assistant", True),), check=_role),
    OpDefinition(
        "prompt.generate",
        "Decodes an output; gives its value and the prompt that holds it (with `n`, the prompt before it).",
        "prompt, options…, indices…", "T, prompt[, list<record>]",
        frozenset({Trait.SAMPLED, Trait.CONTEXT}), HIGH, SAMPLING, check=_generate),
)
