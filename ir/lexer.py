"""Tokens of IR text, one at a time: a single regular expression, no look-ahead beyond the current token."""

from __future__ import annotations

import json
import re

from .diagnostics import InputError
from .source import SourceFile, Span

_STRING = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_TOKEN = re.compile(
    r"(?:[ \t\r\n]+|//[^\n]*)*+(?:"
    rf"(?P<value>%(?:[0-9]+|[^\W\d]\w*))"
    rf"|(?P<name>{_NAME})"
    r"|(?P<punctuation>\.\.|[(){}\[\]<>|,:=!])"
    rf"|(?P<text>{_STRING})"
    rf"|(?P<symbol>@(?:{_NAME}|{_STRING}))"
    r"|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<end>\Z)"
    r"|(?P<bad>.))",
    re.DOTALL,
)
_DECLARATION = re.compile(rf"{_STRING}|//[^\n]*|(?P<op>sem\.(?:enum|record))\s*\(\s*(?P<symbol>@(?:{_NAME}|{_STRING}))")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Lexer:
    """The current token: `kind`, its `text` and `start` offset. `advance` moves on; the last kind is `end`."""

    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self._text = source.text
        self.kind = ""
        self.text = ""
        self.start = 0
        self._end = 0
        self.advance()

    def advance(self) -> None:
        """Move to the next token."""
        match = _TOKEN.match(self._text, self._end)
        assert match is not None and match.lastgroup is not None  # `end` or `bad` matches where nothing else does
        kind = self.kind = match.lastgroup
        self.text = match[kind]
        self._end = match.end()
        self.start = self._end - len(self.text)

    def jump(self, offset: int) -> None:
        """Make the token at `offset` the current one."""
        self._end = offset
        self.advance()

    @property
    def span(self) -> Span:
        """The span of the current token."""
        return Span(self.source, self.start, max(self._end, self.start + 1))

    def error(self, expected: str) -> InputError:
        """A syntax error at the current token."""
        found = "the end of the file" if self.kind == "end" else f"`{self.text}`"
        if self.kind == "bad":
            found = "a text without its closing quote" if self.text == '"' else f"the character {self.text!r}"
        return InputError.of("E1001", f"expected {expected}, found {found}", self.span)

    def accept(self, text: str) -> bool:
        """Move past the token `text` if it is the current one."""
        if self.text != text:
            return False
        self.advance()
        return True

    def expect(self, text: str, where: str) -> None:
        """Move past the token `text`; a syntax error if it is not the current one."""
        if not self.accept(text):
            raise self.error(f"`{text}` {where}")

    def take(self, kind: str, expected: str) -> str:
        """The text of the current token, which must be of `kind`; moves on."""
        if self.kind != kind:
            raise self.error(expected)
        text = self.text
        self.advance()
        return text

    def take_string(self, expected: str = "a text") -> str:
        """The value of a JSON string; moves on."""
        if self.kind != "text":
            raise self.error(expected)
        value = self.decode(self.text)
        self.advance()
        return value

    def take_symbol(self, expected: str) -> str:
        """The name after `@`; moves on."""
        if self.kind != "symbol":
            raise self.error(expected)
        name = self.text[1:]
        if name.startswith('"'):
            name = self.decode(name)
        self.advance()
        return name

    def decode(self, quoted: str) -> str:
        """The value of a quoted string inside the current token."""
        try:
            value = json.loads(quoted)
        except json.JSONDecodeError as error:
            raise InputError.of("E1001", f"this is no JSON string: {error.msg}", self.span) from None
        assert isinstance(value, str)
        if _SURROGATE.search(value):
            raise InputError.of("E1001", "texts hold no lone surrogates", self.span)
        return value

    def declarations(self) -> dict[tuple[str, str], int]:
        """Offsets of the enum and record declarations, by operation and symbol; the first of each counts."""
        found: dict[tuple[str, str], int] = {}
        if "sem.enum" in self._text or "sem.record" in self._text:
            for match in _DECLARATION.finditer(self._text):
                if match["op"]:
                    name = match["symbol"][1:]
                    if name.startswith('"'):
                        name = self.decode(name)
                    found.setdefault((match["op"], name), match.start("op"))
        return found
