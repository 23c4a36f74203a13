"""Texts: sequences of Unicode code points, never normalised."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import Word
from ..target import Tokenizer
from ..types import BOOL, TEXT, Int, List, Text
from ..values import RuntimeValue
from .base import LONGEST_TEXT, EvaluationError, Operands, PureContext, PureFunction, always, within

_LINE_END = re.compile(r"\r?\n")


def _join(args: Operands, context: PureContext) -> RuntimeValue:
    separator = args[1] if len(args) == 2 else ""
    within(sum(map(len, args[0])) + len(separator) * max(0, len(args[0]) - 1), LONGEST_TEXT, "text")
    return separator.join(args[0])


def _concat(args: Operands, context: PureContext) -> RuntimeValue:
    within(sum(map(len, args)), LONGEST_TEXT, "text")
    return "".join(args)


def _replace(args: Operands, context: PureContext) -> RuntimeValue:
    text, old, new = args
    within(len(text) + text.count(old) * (len(new) - len(old)), LONGEST_TEXT, "text")
    return text.replace(old, new)


def _split(args: Operands, context: PureContext) -> RuntimeValue:
    if len(args) == 1:
        return args[0].split()
    return args[0].split(args[1]) if args[1] else list(args[0])


def _lines(args: Operands, context: PureContext) -> RuntimeValue:
    lines = _LINE_END.split(args[0])
    return lines[:-1] if lines[-1] == "" else lines


def _strip(args: Operands, context: PureContext) -> RuntimeValue:
    return args[0].strip(*args[1:])


def _chunk(args: Operands, context: PureContext) -> RuntimeValue:
    text, size = args
    if size < 1:
        raise EvaluationError(f"a chunk holds at least 1 of its units, not {size}")
    unit = context.attributes.get("unit")
    if isinstance(unit, Word) and unit.name == "chars":
        return [text[i : i + size] for i in range(0, len(text), size)]
    if context.tokenizer is None:
        raise EvaluationError("chunks of tokens need the tokenizer of a model")
    return list(token_chunks(text, size, context.tokenizer))


def token_chunks(text: str, size: int, tokenizer: Tokenizer) -> Iterator[str]:
    """Consecutive parts of `text`, each as long as it can be with at most `size` tokens when it is a piece by itself.

    A single code point of more tokens than that is a part of its own. Parts are found by looking at the tokens of
    what is left, so a part may be shorter than the best one where a cut changes the tokens around it.
    """
    at = 0
    while at < len(text):
        # No token stands for more bytes than the longest, so this much text is enough to look at.
        rest = text[at : at + size * tokenizer.longest_token_bytes + 1]
        ids = tokenizer.encode_piece(rest, first=False)
        length = len(rest)
        if len(ids) > size:
            covered = b"".join(tokenizer.token_bytes(i) for i in ids[:size])
            length = max(1, min(len(covered.decode("utf-8", "ignore")), len(rest)))
        while length > 1 and len(tokenizer.encode_piece(rest[:length], first=False)) > size:
            length -= 1
        yield rest[:length]
        at += length


_two = always(BOOL, Text, Text)

FUNCTIONS = (
    PureFunction("concat", '"…${a}…"', "Texts one after the other.", (0, None), always(TEXT), _concat, fallible=True),
    PureFunction("join", "join(xs, separator?)", "The texts of a list with the separator (none unless given) between.",
                 (1, 2), always(TEXT, List(TEXT), Text), _join, fallible=True),
    PureFunction("split", "split(a, separator?)",
                 "Parts between separators; without one, what white space separates; an empty one gives code points.",
                 (1, 2), always(List(TEXT), Text, Text), _split),
    PureFunction("lines", "lines(a)", "Lines without their ends, LF or CRLF; a last end begins no line.", (1, 1),
                 always(List(TEXT), Text), _lines),
    PureFunction("words", "words(a)", "What white space separates.", (1, 1), always(List(TEXT), Text),
                 lambda a, c: a[0].split()),
    PureFunction("chunk", "chunk(a, chars = n) | chunk(a, tokens = n)",
                 "Consecutive parts of at most n code points, or of at most n tokens of the default model.",
                 (2, 2), always(List(TEXT), Text, Int), _chunk, fallible=True, needs_tokenizer=True),
    PureFunction("strip", "strip(a, characters?)", "Without white space, or these characters, at both ends.", (1, 2),
                 always(TEXT, Text, Text), _strip),
    PureFunction("lower", "lower(a)", "In lower case.", (1, 1), always(TEXT, Text), lambda a, c: a[0].lower()),
    PureFunction("upper", "upper(a)", "In upper case.", (1, 1), always(TEXT, Text), lambda a, c: a[0].upper()),
    PureFunction("replace", "replace(a, old, new)", "With every `old` replaced by `new`, from left to right.", (3, 3),
                 always(TEXT, Text, Text, Text), _replace, fallible=True),
    PureFunction("starts_with", "starts_with(a, b)", "Whether a begins with b.", (2, 2), _two,
                 lambda a, c: a[0].startswith(a[1])),
    PureFunction("ends_with", "ends_with(a, b)", "Whether a ends with b.", (2, 2), _two,
                 lambda a, c: a[0].endswith(a[1])),
)
