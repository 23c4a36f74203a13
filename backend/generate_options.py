"""The options of a generate, from attributes and from operands that are known in the run only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..ir.core import Op
from ..ir.types import Text, Type

DEFAULT_MAX_TOKENS = 256


class OptionError(ValueError):
    """An option has a value that it may not have."""


def budget(given: int | None, type: Type) -> int:
    """`max_tokens`, within the bound of a text type."""
    bound = type.max_tokens if isinstance(type, Text) else None
    if bound is None:
        return DEFAULT_MAX_TOKENS if given is None else given
    return bound if given is None else min(given, bound)


def read_options(op: Op, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are attributes and those that are operands, checked. Raises OptionError."""
    options: dict[str, Any] = {}
    for name, check in _CHECKS.items():
        value = given[name] if name in given else op.attributes.get(name)
        if value is not None:
            options[name] = check(name, value)
    return options


def _whole(low: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise OptionError(f"`{name}` must be a whole number of at least {low}, not {value!r}")
        return value
    return check


def _number(low: float, high: float, *, above: bool = False) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        if not good or not math.isfinite(value) or (above and value == low):
            bounds = f"above {low:g}" if above else f"at least {low:g}"
            raise OptionError(f"`{name}` must be {bounds}" + (f" and at most {high:g}" if high < math.inf else "")
                              + f", not {value!r}")
        return float(value)
    return check


def _seed(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"`{name}` must be a whole number, not {value!r}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"`{name}` must be a text, not {value!r}")
    return value


def _texts(name: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(text, str) for text in texts):
        raise OptionError(f"`{name}` must be texts")
    if name == "choices" and not texts:
        raise OptionError("`choices` is empty, so there is nothing to choose from")
    if name == "stop" and "" in texts:
        raise OptionError("a `stop` text is empty, so nothing could be generated")
    return texts


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "max_tokens": _whole(1), "max_words": _whole(1), "temperature": _number(0, math.inf),
    "top_p": _number(0, 1, above=True), "top_k": _whole(0), "min_p": _number(0, 1), "seed": _seed, "stop": _texts,
    "regex": _text, "choices": _texts, "n": _whole(1), "logprobs": _whole(0),
}
