"""Tokens of Sem and the words that the language reserves."""

from __future__ import annotations

from typing import Any, Final

RESERVED_WORDS: Final = frozenset((
    "let", "for", "in", "if", "else", "match", "yield", "return", "fold", "loop", "while", "limit", "with",
    "try", "none", "true", "false", "and", "or", "not",
))
"""Words that can never be names."""

DECLARATION_WORDS: Final = frozenset((
    "use", "enum", "type", "model", "host", "semantic", "program", "test",
))
"""Words that begin a declaration; names everywhere else."""

CONTEXTUAL_WORDS: Final = DECLARATION_WORDS | frozenset(("as", "from", "using"))
"""Words that the parser takes as keywords where the grammar has one; `assert` and `unordered` see `layout`."""


class Token:
    """A token: `kind` is its own text for words and signs, else its class (`NAME`, `TEXT`, …).

    `value` is the decoded text of a TEXT…, the number of an INT or FLOAT, the seconds of a DURATION,
    the raw text of a PROMPT (later its `ast.Template`).
    """

    __slots__ = ("end", "first_on_line", "kind", "start", "text", "value")

    def __init__(self, kind: str, text: str, start: int, end: int, first_on_line: bool = False,
                 value: Any = None) -> None:
        self.kind = kind
        self.text = text
        self.start = start
        self.end = end
        self.first_on_line = first_on_line
        self.value = value

    def __repr__(self) -> str:
        return f"Token({self.kind!r}, {self.text!r}, {self.start}, {self.end})"


ENDS_OPERAND: Final = frozenset((
    "NAME", "INT", "FLOAT", "DURATION", "TEXT", "TEXT_TAIL", ")", "]", "}", "?", "true", "false", "none",
))
"""Kinds of token after which an expression, and so a statement, may end."""

BEGINS_STATEMENT: Final = frozenset((
    "NAME", "INT", "FLOAT", "DURATION", "TEXT", "TEXT_HEAD", "(", "[", "-", "let", "for", "if", "match",
    "yield", "return", "fold", "loop", "try", "none", "true", "false", "not",
))
"""Kinds of token that begin a statement when they stand first on a line; all others go on with the line before."""
