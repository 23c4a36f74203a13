"""Constant options of outputs that no value can keep, found before anything runs: patterns and budgets."""

from __future__ import annotations

from ...ir.core import Literal, Module, Op, walk
from ...ir.diagnostics import Diagnostic, InputError
from ...ir.target import Target, Tokenizer
from ...ir.types import List, Type
from ...passes.prompt_facts import PromptFacts
from ..engine import EngineError, SamplingOptions
from .constraint import byte_automaton_of, minimum_tokens, token_budget

IMPOSSIBLE_OUTPUT = "E0955"
OVER_BUDGET = "the shortest value may not fit"


def check_options(module: Module, target: Target) -> None:
    """Raise InputError with a diagnostic for each generate whose constant options give no value, whatever the model.

    `module`: at the prompt level, before passes make constants of what is known only in one run.
    """
    errors: dict[Diagnostic, None] = {}
    facts: PromptFacts | None = None
    for op in walk(module.ops):
        if op.name == "prompt.generate":
            problem = _problem(op)
            if problem is OVER_BUDGET:
                facts = facts or PromptFacts(module.ops)
                problem = _budget_problem(op, target.model(facts[op.operands[0]].model or "").tokenizer)
            if problem is not None:
                errors[Diagnostic(IMPOSSIBLE_OUTPUT, f"{op.location}: the output `{op.attributes['output']}` can never "
                                  f"be generated: {problem}")] = None
    if errors:
        raise InputError(errors)


def _problem(op: Op) -> str | None:
    """What is wrong under every tokenizer; OVER_BUDGET where the tokenizer decides."""
    later = _later(op)
    if "regex" in later or "choices" in later:
        return None
    options = _options(op)
    try:
        automaton = byte_automaton_of(options)
    except EngineError as error:
        return str(error)
    if automaton is None or "max_tokens" in later:
        return None
    # Every byte is a token, so no value needs more tokens than bytes.
    return OVER_BUDGET if token_budget(options) < automaton.distance[automaton.start] else None


def _budget_problem(op: Op, tokenizer: Tokenizer | None) -> str | None:
    if tokenizer is None:
        return None
    options = _options(op)
    budget = token_budget(options)
    try:
        least = minimum_tokens(options, tokenizer)
    except EngineError as error:
        return str(error)
    if least <= budget:
        return None
    return f"max_tokens is {budget}, but the shortest value has {least} tokens; raise max_tokens"


def _later(op: Op) -> tuple[Literal, ...]:
    """The options that only the run knows."""
    names = op.attributes.get("options") or ()
    assert isinstance(names, tuple)
    return names


def _options(op: Op) -> SamplingOptions:
    """The constant options that decide which values there are."""
    attributes = op.attributes
    type: Type = op.results[0].type
    if isinstance(type, List) and ("n" in _later(op) or attributes.get("n") is not None):
        type = type.element
    regex, choices, budget = attributes.get("regex"), attributes.get("choices"), attributes.get("max_tokens")
    return SamplingOptions(
        type=type, max_tokens=budget if isinstance(budget, int) else SamplingOptions().max_tokens,
        regex=regex if isinstance(regex, str) else None,
        choices=tuple(dict.fromkeys(map(str, choices))) if isinstance(choices, tuple) and choices else None,
        strip_leading_space=bool(attributes.get("strip_space")))
