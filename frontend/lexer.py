"""Source text to tokens: words, numbers, signs, texts with `${…}` in them, prompts, comments."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from .ast import Comment
from .tokens import ENDS_OPERAND, RESERVED_WORDS, Token

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\ufeff]+)
      | (?P<line_end>\n)
      | (?P<word>[^\W\d]\w*)
      | (?P<number>(?:\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?|(?<![\w)\]}])\.\d[\d_]*(?:[eE][+-]?\d+)?)\w*)
      | (?P<prompt>\"{3})
      | (?P<quote>\")
      | (?P<comment>\#[^\n]*)
      | (?P<sign>->|=>|==|!=|<=|>=|\?\?|//|\.\.|&&|\|\||\*\*|[-()\[\]{},:.=<>+*/%?|@;!])
    """,
    re.VERBOSE,
)
_TEXT_CHUNK = re.compile(r'(?:[^"\\\n$]|\$(?!\{)|\\[^\n])*')
_ESCAPE = re.compile(r"\\(?:u\{(?P<braced>[^}\"]*)\}|u(?P<four>[0-9a-fA-F]{4})|x(?P<two>[0-9a-fA-F]{2})|(?P<other>.))",
                     re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f", "\\": "\\", '"': '"', "'": "'",
                   "$": "$", "/": "/"}
_NUMBER = re.compile(r"(?P<digits>\d[\d_]*)(?P<fraction>\.\d[\d_]*)?(?P<exponent>[eE][+-]?\d+)?(?P<unit>\w*)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_FOREIGN_QUOTE = re.compile(r"'(?:[^'\\\n]|\\.)*'?|`[^`\n]*`?")
_FOREIGN_SIGNS = {"&&": "and", "||": "or", "!": "not"}
MAX_INT = 2**63 - 1


class Lexer:
    """One pass over `source.text[start:end]`; `tokens` and `comments` are the result.

    With `in_tag`, the text is the inside of a prompt's tag and the pass ends before its `}}` (at `position`).
    """

    def __init__(self, source: SourceFile, diagnostics: Diagnostics, start: int = 0, end: int | None = None,
                 in_tag: bool = False) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.position = start
        self.end = len(source.text) if end is None else end
        self.in_tag = in_tag
        self.tokens: list[Token] = []
        self.comments: list[Comment] = []
        self._first_on_line = True
        self._open: list[int] = []  # offsets of the `${` that are open
        self._braces: list[int] = [0]  # braces open in the file and in each `${`
        self._handlers: dict[str, Callable[[int, int], None]] = {
            "line_end": self._line_end, "number": self._number, "prompt": self._prompt, "quote": self._quote,
            "comment": self._comment, "sign": self._sign,
        }

    def run(self) -> None:
        """Read all tokens; errors go to the diagnostics and leave the best guess behind."""
        text, end, match, handlers = self.source.text, self.end, _TOKEN.match, self._handlers
        while self.position < end:
            found = match(text, self.position, end)
            if found is None:
                self._foreign_character()
                continue
            kind = found.lastgroup
            start, self.position = self.position, found.end()
            if kind == "word":
                word = found.group()
                self._add(word if word in RESERVED_WORDS else "NAME", start, self.position)
            elif kind != "space":
                assert kind is not None
                if self.in_tag and self._closes_tag(start):
                    self.position = start
                    return
                handlers[kind](start, self.position)
        self._close_interpolations()

    def _add(self, kind: str, start: int, end: int, value: str | int | float | None = None) -> None:
        self.tokens.append(Token(kind, self.source.text[start:end], start, end, self._first_on_line, value))
        self._first_on_line = False

    def _error(self, code: str, message: str, start: int, end: int, label: str = "", fix: str | None = None) -> None:
        self.diagnostics.error(code, message, Span(self.source, start, end), label, fix=fix)

    def _closes_tag(self, start: int) -> bool:
        return not self._open and self._braces[-1] == 0 and self.source.text.startswith("}}", start)

    # ---- lines, comments, signs

    def _line_end(self, start: int, end: int) -> None:
        self._close_interpolations()
        self._first_on_line = True

    def _comment(self, start: int, end: int) -> None:
        if self.in_tag:
            self.position = start + 1
            self._add("#", start, start + 1)
            return
        text = self.source.text[start:end].rstrip()
        self.comments.append(Comment(Span(self.source, start, start + len(text)), text, self._first_on_line))

    def _sign(self, start: int, end: int) -> None:
        sign = self.source.text[start:end]
        if sign == "{":
            self._braces[-1] += 1
        elif sign == "}":
            if self._open and self._braces[-1] == 0:
                self._open.pop()
                self._braces.pop()
                self._text(start, end, "TEXT_MIDDLE", "TEXT_TAIL")
                return
            self._braces[-1] -= 1
        elif sign == "//" and self._first_on_line:
            line_end = self.source.text.find("\n", start, self.end)
            self.position = self.end if line_end < 0 else line_end
            self._error("E0010", "a line cannot begin with `//`", start, end, "this divides and rounds down",
                        "a comment begins with `#`; to divide, end the line before with `//`")
            return
        elif sign in _FOREIGN_SIGNS:
            word = _FOREIGN_SIGNS[sign]
            self._error("E0011", f"`{sign}` is written `{word}`", start, end, fix=f"write `{word}`")
            self._add(word, start, end)
            return
        self._add(sign, start, end)

    def _foreign_character(self) -> None:
        start = self.position
        quoted = _FOREIGN_QUOTE.match(self.source.text, start, self.end)
        if quoted is not None:
            self.position = quoted.end()
            self._error("E0012", "a text is written in double quotes", start, self.position,
                        fix='write `"…"`, with `\\"` for a quote inside')
            self._add("TEXT", start, self.position, quoted.group()[1:].rstrip("'`"))
            return
        text = self.source.text
        self.position += 1
        while self.position < self.end and text[self.position] not in "'`" \
                and _TOKEN.match(text, self.position, self.end) is None:
            self.position += 1
        character = text[start]
        shown = f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"
        self._error("E0013", f"{shown} has no meaning here", start, self.position,
                    fix='write `"`' if character in "“”„«»" else None)

    # ---- numbers

    def _number(self, start: int, end: int) -> None:
        text = self.source.text[start:end]
        shown = text if len(text) <= 30 else text[:29] + "…"
        found = _NUMBER.fullmatch(text)
        if found is None:
            self._error("E0014", f"`{shown}` is not a number", start, end, fix=f"write `0{text}`")
            self._add("FLOAT", start, end, 0.0)
            return
        digits, fraction, exponent, unit = found.group("digits", "fraction", "exponent", "unit")
        fix = self._number_problem(digits, fraction or "", unit, text)
        if fix is not None:
            self._error("E0014", f"`{shown}` is not a number", start, end, fix=fix)
            self._add("INT", start, end, 0)
        elif unit:
            seconds = float(digits + (fraction or "")) * _UNIT_SECONDS[unit]
            self._add("DURATION", start, end, round(seconds, 9))
        elif fraction or exponent:
            number = float(text.replace("_", ""))
            if number == float("inf"):
                self._error("E0015", "the number is beyond the range of float", start, end)
                number = 0.0
            self._add("FLOAT", start, end, number)
        else:
            self._integer(digits, start, end)

    def _integer(self, digits: str, start: int, end: int) -> None:
        significant = digits.replace("_", "").lstrip("0")
        # int() of very long digits is slow and limited by Python; 20 digits are always too many.
        number = int(significant or "0") if len(significant) < 20 else MAX_INT + 2
        if number > MAX_INT + 1 or (number > MAX_INT and not self._is_negated()):
            self._error("E0015", "the number is beyond the range of int", start, end, "int has 64 bits",
                        f"the largest int is {MAX_INT}; write a float, as `1e20`, for more")
            number = 0
        self._add("INT", start, end, number)

    def _is_negated(self) -> bool:
        """Whether the token before is a sign, not a subtraction: -2**63 exists, 2**63 does not."""
        tokens = self.tokens
        return bool(tokens) and tokens[-1].kind == "-" and (len(tokens) < 2 or tokens[-2].kind not in ENDS_OPERAND)

    @staticmethod
    def _number_problem(digits: str, fraction: str, unit: str, text: str) -> str | None:
        """What to write instead, if the parts do not make a number."""
        if digits.endswith("_") or "__" in digits or fraction.endswith("_") or "__" in fraction \
                or fraction.startswith("._"):
            return "single `_` may stand between two digits only"
        if not text.isascii():
            return "write the digits 0 to 9"
        if unit in _UNIT_SECONDS or not unit:
            has_leading_zero = not unit and not fraction and digits[0] == "0" and digits.strip("0_")
            return f"write `{digits.lstrip('0_')}`, without leading zeros" if has_leading_zero else None
        if digits == "0" and unit[0] in "xXbBoO":
            try:
                return f"write the number in decimal: `{int(text[:40], 0)}`"
            except ValueError:
                pass
        return "a name cannot begin with a digit; durations end in `ms`, `s`, `m` or `h`"

    # ---- texts and prompts

    def _quote(self, start: int, end: int) -> None:
        before = self.tokens[-1] if self.tokens else None
        if before is not None and before.end == start and before.kind == "NAME" \
                and before.text.lower() in ("f", "r", "b", "fr", "rf", "u"):
            self.tokens.pop()
            self._error("E0016", f"a text has no prefix `{before.text}`", before.start, start,
                        fix="write `\"…${e}…\"` to insert a value" if "f" in before.text.lower() else "write `\"…\"`")
            self._first_on_line = before.first_on_line
        self._text(start, end, "TEXT_HEAD", "TEXT")

    def _text(self, start: int, inside: int, kind_before_hole: str, kind_at_end: str) -> None:
        """Read from `inside` to the closing quote or the next `${`."""
        found = _TEXT_CHUNK.match(self.source.text, inside, self.end)
        assert found is not None
        stop = found.end()
        value = self._decode(inside, stop)
        if self.source.text.startswith("${", stop) and stop < self.end:
            self.position = stop + 2
            self._add(kind_before_hole, start, self.position, value)
            self._open.append(stop)
            self._braces.append(0)
        elif self.source.text.startswith('"', stop) and stop < self.end:
            self.position = stop + 1
            self._add(kind_at_end, start, self.position, value)
        else:
            self.position = stop
            self._error("E0017", "the text does not end on its line", start, stop, "it begins here",
                        'close it with `"`; a line break in a text is written `\\n`')
            self._add(kind_at_end, start, stop, value)

    def _decode(self, start: int, end: int) -> str:
        """The text between two offsets without its escapes."""
        raw = self.source.text[start:end]
        if "\\" not in raw:
            return raw
        return str(_ESCAPE.sub(lambda found: self._decode_escape(found, start), raw))

    def _decode_escape(self, found: re.Match[str], offset: int) -> str:
        other = found.group("other")
        if other in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[other]
        digits = found.group("braced") or found.group("four") or found.group("two") or ""
        if other is None and re.fullmatch("[0-9a-fA-F]{1,6}", digits):
            code_point = int(digits, 16)
            if code_point < 0x110000 and not 0xD800 <= code_point < 0xE000:
                return chr(code_point)
            fix = "write the code point itself, as `\\u{1F600}`"
        else:
            fix = r'the escapes are `\n \t \r \b \f \0 \\ \" \$`, `\x41`, `\u00e9` and `\u{1F600}`'
        self._error("E0018", f"`{found.group()}` is not an escape", offset + found.start(), offset + found.end(),
                    fix=fix)
        return found.group()

    def _close_interpolations(self) -> None:
        """At a line end: a `${` that is still open is an error, and its text ends here."""
        if self._open:
            opened = self._open[0]
            self._error("E0019", "`${` is not closed on its line", opened, opened + 2, "it begins here",
                        'close it with `}`, and the text with `"`; a plain `${` is written `\\${`')
        while self._open:
            self._open.pop()
            self._braces.pop()
            self._add("TEXT_TAIL", self.position, self.position, "")

    def _prompt(self, start: int, end: int) -> None:
        text = self.source.text
        closing = text.find('"""', end, self.end)
        if closing < 0:
            self.position = self.end
            self._error("E0020", "the prompt is not closed", start, end, "it begins here", 'close it with `"""`')
            self._add("PROMPT", start, self.end, text[end:self.end])
            return
        while text.startswith('"', closing + 3) and closing + 3 < self.end:
            closing += 1  # the last three quotes of a run close the prompt
        self.position = closing + 3
        self._add("PROMPT", start, self.position, text[end:closing])
