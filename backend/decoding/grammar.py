"""The grammar of each type, as a regular expression over the text of its values.

Records, lists, maps and options are compact JSON; at the top, enums, numbers and booleans are their bare text.
Every text that a grammar admits is parsed by `values.parse_value`. The expressions are in the syntax of Rust's
`regex` crate, which compiles them.
"""

from __future__ import annotations

import json

from ...ir.types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from ..engine import EngineError

INT_LOW, INT_HIGH = -(2**63), 2**63 - 1

# At most 16 digits before the exponent and 2 in it: always finite.
FLOAT = r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,16})?(?:[eE][+-]?[0-9]{1,2})?"

# Any code point but quotes, backslashes and controls, or an escape; \u of a surrogate half is left out.
_ESCAPE = r'\\(?:["\\/bfnrt]|u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))'
STRING_CONTENT = rf'(?:[^"\\\x00-\x1f]|{_ESCAPE})*'

MOST_BOUNDS = 15


class TypeGrammar:
    """`pattern`: the expression; `bounds`: the different `max_tokens` of texts inside JSON.

    A bounded text's content stands between two control bytes (`enter_marker`, `exit_marker` of its index in
    `bounds`), which no JSON text can hold; the automaton removes them and learns from them where it must count.
    """

    def __init__(self, type: Type) -> None:
        self.bounds: list[int] = []
        self.pattern = self._bare(type)

    def _bare(self, type: Type) -> str:
        match type:
            case Enum(_, members):
                return _alternatives([m.text for m in members])
            case Text():
                raise EngineError("plain text has no grammar")
            case _:
                return self._json(type)

    def _json(self, type: Type) -> str:
        match type:
            case Text(max_tokens):
                return f'"{self._content(max_tokens)}"'
            case Int(low, high):
                return int_pattern(INT_LOW if low is None else low, INT_HIGH if high is None else high)
            case Float():
                return FLOAT
            case Bool():
                return "(?:true|false)"
            case Enum(_, members):
                return _alternatives([json.dumps(m.text, ensure_ascii=False) for m in members])
            case Option(element):
                return f"(?:null|{self._json(element)})"
            case List(element, maximum):
                return rf"\[{self._repeated(self._json(element), maximum)}\]"
            case Map(element):
                entry = f'"{STRING_CONTENT}":{self._json(element)}'
                return rf"\{{{self._repeated(entry, None)}\}}"
            case Record(_, fields):
                members = [f"{escape(json.dumps(f.name, ensure_ascii=False))}:{self._json(f.type)}" for f in fields]
                return rf"\{{{','.join(members)}\}}"
            case _:
                raise EngineError(f"a value of type {type} cannot be generated")

    def _content(self, max_tokens: int | None) -> str:
        if max_tokens is None:
            return STRING_CONTENT
        if max_tokens not in self.bounds:
            if len(self.bounds) == MOST_BOUNDS:
                raise EngineError(f"a type holds texts with more than {MOST_BOUNDS} different `max_tokens`; use fewer")
            self.bounds.append(max_tokens)
        index = self.bounds.index(max_tokens)
        return rf"\x{enter_marker(index):02x}{STRING_CONTENT}\x{exit_marker(index):02x}"

    @staticmethod
    def _repeated(element: str, maximum: int | None) -> str:
        """Up to `maximum` elements, separated by commas."""
        if maximum == 0:
            return ""
        more = "*" if maximum is None else f"{{0,{maximum - 1}}}"
        return f"(?:{element}(?:,{element}){more})?"


def enter_marker(index: int) -> int:
    """The byte before the content of a text bounded by `bounds[index]`."""
    return 1 + 2 * index


def exit_marker(index: int) -> int:
    """The byte after it."""
    return 2 + 2 * index


def choices_pattern(choices: tuple[str, ...]) -> str:
    """The expression of exactly these texts. Raises EngineError when there are none."""
    if not choices:
        raise EngineError("`choices` is empty, so no value is possible")
    return _alternatives(list(dict.fromkeys(choices)))


def _alternatives(texts: list[str]) -> str:
    return f"(?:{'|'.join(map(escape, texts))})"


def escape(text: str) -> str:
    """An expression that matches `text` and nothing else."""
    return "".join("\\" + c if c in r"\.+*?()|[]{}^$" else c for c in text)


def int_pattern(low: int, high: int) -> str:
    """The decimal integers `low..high`, without leading zeros. Raises EngineError when there are none."""
    if low > high:
        raise EngineError(f"no int lies within {low}..{high}")
    parts = []
    if low < 0:
        parts.append(f"-(?:{_natural_pattern(max(1, -high), -low)})")
    if high >= 0:
        parts.append(_natural_pattern(max(0, low), high))
    return f"(?:{'|'.join(parts)})"


def _natural_pattern(low: int, high: int) -> str:
    parts = []
    for size in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (size - 1) if size > 1 else 0)
        last = min(high, 10**size - 1)
        parts.append(_digits_pattern(str(first), str(last)))
    return "|".join(parts)


def _digits_pattern(low: str, high: str) -> str:
    """Digit strings of one length from `low` to `high`."""
    size = len(low)
    if size == 0:
        return ""
    if low == "0" * size and high == "9" * size:
        return f"[0-9]{{{size}}}"
    if low[0] == high[0]:
        return low[0] + _digits_pattern(low[1:], high[1:])
    rest = size - 1
    parts = [low[0] + _digits_pattern(low[1:], "9" * rest)]
    if int(high[0]) - int(low[0]) > 1:
        parts.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}][0-9]{{{rest}}}")
    parts.append(high[0] + _digits_pattern("0" * rest, high[1:]))
    return f"(?:{'|'.join(parts)})"
