"""From bytes to tokens: how many tokens a piece may have under a tokenizer, and how many an output may take."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from ..ir.core import Op
from ..ir.target import Tokenizer
from ..ir.types import Bool, Enum, Int, List, Text, Type
from .intervals import ANY, ZERO, Interval, span
from .value_bounds import Bounds, decoded_bounds, text_bounds, text_choices, type_bounds

DEFAULT_MAX_TOKENS = 256
SPELLED_ONE_WAY = (Bool, Enum, Int)
"""Types of which a value is decoded as it renders."""


@dataclass(frozen=True)
class OutputBounds:
    """Of one generate: sizes of one sample's value, tokens that are decoded, and tokens that stay in the context."""

    value: Bounds
    decoded: Interval
    kept: Interval


class TokenBounds:
    """Bounds under one tokenizer; without one (None) tokens have no upper bound but an output's budget.

    A value is bounded by its bytes only under a tokenizer that never makes more tokens of a text than it has bytes
    (`bytes_bound_tokens`).
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.tokenizer = tokenizer
        self._exact = bool(getattr(tokenizer, "bytes_bound_tokens", False))
        self._pieces: dict[tuple[str, bool], Interval] = {}
        self._outputs: dict[tuple[object, ...], OutputBounds] = {}

    def piece(self, value: Bounds, *, space: bool, first: bool | None) -> Interval:
        """Tokens of a value that is inserted as a piece; `first` None where that is not known."""
        if value.texts is not None:
            texts = [" " + t if space else t for t in value.texts]
            found = span(self.constant(t, first) for t in texts)
            if found is not None:
                return found
        size = value.bytes + Interval.exactly(1) if space else value.bytes
        if not self._exact or self.tokenizer is None:
            return ANY
        prefix = 1 if self.tokenizer.has_dummy_prefix and first is not False else 0
        high = None if size.high is None else size.high + (prefix if size.high else 0)
        return Interval(self._least(size.low), high)

    def _least(self, size: int) -> int:
        """The fewest tokens that hold so many bytes."""
        return -(-size // self.tokenizer.longest_token_bytes) if self.tokenizer is not None else 0

    def constant(self, text: str, first: bool | None) -> Interval:
        """Tokens of a constant piece."""
        if self.tokenizer is None:
            return ANY if text else ZERO
        if first is None and self.tokenizer.has_dummy_prefix:
            return self.constant(text, True).join(self.constant(text, False))
        key = (text, bool(first))
        found = self._pieces.get(key)
        if found is None:
            found = self._pieces[key] = Interval.exactly(len(self.tokenizer.encode_piece(text, first=bool(first))))
        return found

    def output(self, generate: Op, options: dict[str, Bounds]) -> OutputBounds:
        """The bounds of an output; `options` are those of its operand options."""
        if options:
            return self._output(generate, options)
        attributes = generate.attributes
        key = (generate.results[0].type, attributes.get("max_tokens", DEFAULT_MAX_TOKENS), attributes.get("choices"),
               attributes.get("regex"), bool(attributes.get("strip_space")), "n" in attributes,
               attributes.get("options"))
        found = self._outputs.get(key)
        if found is None:
            found = self._outputs[key] = self._output(generate, options)
        return found

    def _output(self, generate: Op, options: dict[str, Bounds]) -> OutputBounds:
        budget = _budget(generate, options)
        longest = self.tokenizer.longest_token_bytes if self.tokenizer is not None else None
        room = None if budget is None or longest is None else budget * longest
        type = _sample_type(generate)
        value = _choices(generate, type, options)
        is_free = value is None and isinstance(type, Text)
        if value is None:
            value = decoded_bounds(type, room)
        strips = bool(generate.attributes.get("strip_space"))
        least = 1 if is_free or not self._exact else max(1, self._least(value.bytes.low))
        decoded = Interval(least).at_most(budget)
        if not is_free and isinstance(type, (Text, *SPELLED_ONE_WAY)) and value.bytes.high is not None:
            decoded = decoded.at_most(value.bytes.high + strips)
        return OutputBounds(value, decoded, self._kept(value, decoded.high, is_free, strips))

    def _kept(self, value: Bounds, decoded: int | None, is_free: bool, strips: bool) -> Interval:
        """Tokens of the value in its context: a run of the decoded ones, then the rest as a piece of its own.

        There is a rest where the value was cut: a free text inside its last token, a stripped one at its front.
        """
        high = decoded
        if high is not None and (is_free or strips) and self.tokenizer is not None:
            rest = value.bytes.high if strips else self.tokenizer.longest_token_bytes - 1
            high = None if rest is None or not self._exact else max(high, rest if strips else high - 1 + rest)
        low = 0 if is_free or not self._exact else self._least(value.bytes.low)
        return Interval(low if high is None else min(low, high), high)


def _budget(generate: Op, options: dict[str, Bounds]) -> int | None:
    """The most tokens that are decoded for one sample; None where an operand decides."""
    if "max_tokens" in options:
        number = options["max_tokens"].number
        return number.high if number is not None else None
    given = generate.attributes.get("max_tokens", DEFAULT_MAX_TOKENS)
    return given if isinstance(given, int) else DEFAULT_MAX_TOKENS


def _sample_type(generate: Op) -> Type:
    type = generate.results[0].type
    several = "n" in generate.attributes or "n" in (generate.attributes.get("options") or ())  # type: ignore[operator]
    return type.element if several and isinstance(type, List) else type


def _choices(generate: Op, type: Type, options: dict[str, Bounds]) -> Bounds | None:
    """What choices or a regex allow; None where the type alone decides."""
    choices = generate.attributes.get("choices")
    if isinstance(choices, tuple):
        return text_choices(tuple(dict.fromkeys(c for c in choices if isinstance(c, str))))
    if "choices" in options:
        return options["choices"].element or type_bounds(type)
    regex = generate.attributes.get("regex")
    if isinstance(regex, str):
        return text_bounds(_regex_bytes(regex))
    return type_bounds(type) if "regex" in options else None


def _regex_bytes(regex: str) -> Interval:
    """Bytes of a text that matches `regex`: one to four for each character; unbounded where Python cannot read it."""
    parser = getattr(re, "_parser", None)
    if parser is None:
        return ANY
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shortest, longest = parser.parse(regex).getwidth()
    except (re.error, OverflowError, RecursionError):
        return ANY
    bounded = longest < 2**31 and longest < getattr(parser, "MAXREPEAT", 2**32 - 1)
    return Interval(int(shortest), 4 * int(longest) if bounded else None)


