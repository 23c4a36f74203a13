"""From sampling options to the grammar of an output, if it has one."""

from __future__ import annotations

from functools import lru_cache

from ...ir.target import Tokenizer
from ...ir.types import Text, Type
from ..engine import EngineError, SamplingOptions
from .byte_automaton import UNREACHABLE, ByteAutomaton, compile_pattern
from .grammar import choices_pattern, type_pattern
from .regex_parser import parse_regex
from .token_automaton import TokenAutomaton, token_automaton


def constraint_of(options: SamplingOptions, tokenizer: Tokenizer, vocabulary_size: int) -> TokenAutomaton | None:
    """The automaton that an output must follow; None for free text. Raises EngineError for impossible options."""
    automaton = byte_automaton_of(options)
    if automaton is None:
        return None
    if options.stop or options.max_words is not None:
        raise EngineError("`stop` and `max_words` end free text; they cannot stand beside `regex`, `choices` or a type")
    return token_automaton(automaton, tokenizer, vocabulary_size)


def byte_automaton_of(options: SamplingOptions) -> ByteAutomaton | None:
    """The automaton of the texts that an output may have; None for free text. Raises EngineError."""
    return _byte_automaton(options.type, options.regex, options.choices, options.strip_leading_space)


@lru_cache(256)
def _byte_automaton(
    type: Type | None, regex: str | None, choices: tuple[str, ...] | None, optional_space: bool
) -> ByteAutomaton | None:
    is_text = type is None or isinstance(type, Text)
    if regex is not None and choices is not None:
        raise EngineError("`regex` and `choices` cannot both be given")
    if not is_text and (regex is not None or choices is not None):
        raise EngineError(f"`regex` and `choices` are for text; the output has type {type}")
    if regex is not None:
        automaton = _compile_regex(regex)
    elif choices is not None:
        automaton = compile_pattern(choices_pattern(choices))
    elif is_text:
        return None
    else:
        assert type is not None
        automaton = compile_pattern(type_pattern(type))
    return automaton.with_optional_space() if optional_space else automaton


def _compile_regex(regex: str) -> ByteAutomaton:
    try:
        return compile_pattern(parse_regex(regex))
    except EngineError as error:
        raise EngineError(f"the pattern {regex!r} cannot be used: {error}") from error


def token_budget(options: SamplingOptions) -> int:
    """Most tokens of the output: `max_tokens`, and the bound of a text type."""
    if isinstance(options.type, Text) and options.type.max_tokens is not None:
        return min(options.max_tokens, options.type.max_tokens)
    return options.max_tokens


def minimum_tokens(target: Type | SamplingOptions, tokenizer: Tokenizer) -> int:
    """Fewest tokens that give a value of a type, or an output under these options; 0 for free text.

    Raises EngineError where the tokenizer can spell no value at all.
    """
    options = target if isinstance(target, SamplingOptions) else SamplingOptions(type=target)
    automaton = constraint_of(options, tokenizer, tokenizer.vocabulary_size)
    if automaton is None:
        return 0
    minimum = automaton.minimum_tokens(automaton.start)
    if minimum == UNREACHABLE:
        raise EngineError("the tokenizer has no tokens that spell a value of the wanted form")
    return minimum
