"""Tokens to declarations: where one ends, which brackets match, which line ends separate statements.

A line end separates two statements (or members, fields, arms) inside `{ … }` when the token before it may end an
expression and the token after it may begin a statement: so a line that begins with an operator, `.`, `,`, `else` or
`{` goes on with the line before; one that begins with a name, a literal, `(`, `[` or `-` begins a statement. Inside
`( … )` and `[ … ]` line ends mean nothing. `let`, `yield`, `return` always begin a statement.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import SourceFile, Span
from .syntax_help import FOREIGN_DECLARATIONS
from .tokens import BEGINS_STATEMENT, DECLARATION_WORDS, ENDS_OPERAND, Token

MAX_NESTING = 100
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ALWAYS_STATEMENT = frozenset(("let", "yield", "return"))
_MAY_BEGIN = frozenset(("NAME", "let"))
_ENDS_OPTIONS = frozenset(("else", "for", "@", "if", "=>", "{"))


@dataclass
class Chunk:
    """The tokens of one declaration, ended by `$END`; `depths[i]` counts the brackets open before token i."""

    tokens: list[Token]
    depths: list[int]
    is_balanced: bool


@dataclass
class _Bracket:
    """An open bracket and what is pending directly inside it."""

    token: Token | None
    in_options: bool = False  # after `with`: a comma before `name =` belongs to the options
    awaits_for: bool = False  # after `fold`: its `for` may stand on a new line


def split_declarations(tokens: list[Token], text: str) -> list[list[Token]]:
    """Cut at each declaration word that stands where a declaration can begin, whatever brackets are open.

    No statement begins with two names, so `program P` at the start of a line begins a declaration even after a
    bracket that was never closed: one broken declaration does not spoil the next.
    """
    starts = [i for i, token in enumerate(tokens) if token.kind in _MAY_BEGIN and _begins_declaration(
        tokens, i, token.first_on_line and text[token.start - 1:token.start] in ("", "\n"))]
    if not starts or starts[0] != 0:
        starts.insert(0, 0)
    return [tokens[a:b] for a, b in zip(starts, [*starts[1:], len(tokens)], strict=True) if a < b]


def _begins_declaration(tokens: list[Token], i: int, is_first_column: bool) -> bool:
    token = tokens[i]
    if i + 1 == len(tokens):
        return False
    following = tokens[i + 1]
    if token.text not in DECLARATION_WORDS:
        return is_first_column and token.text in FOREIGN_DECLARATIONS and following.kind == "NAME" \
            and not following.first_on_line
    names = "TEXT" if token.text in ("use", "test") else "NAME"
    if following.kind != names or following.first_on_line:
        return False
    if i == 0:
        return True
    before = tokens[i - 1]
    if token.first_on_line:
        return before.kind not in ("->", ":", ",", "=", "|")
    return before.kind in ("}", "TEXT")


def lay_out(tokens: list[Token], source: SourceFile, diagnostics: Diagnostics, end_word: str) -> Chunk:
    """Match the brackets of one declaration or tag and put `_NL` where a line end separates.

    `end_word` is what messages call its end.
    """
    return _Layout(tokens, source, diagnostics, end_word).run()


class _Layout:
    def __init__(self, tokens: list[Token], source: SourceFile, diagnostics: Diagnostics, end_word: str) -> None:
        self.tokens = tokens
        self.source = source
        self.diagnostics = diagnostics
        self.end_word = end_word
        self.result: list[Token] = []
        self.depths: list[int] = []
        self.stack = [_Bracket(None)]
        self.is_balanced = True
        self.semicolons: list[Token] = []
        self.suspect: tuple[Token, Token] | None = None  # a `{` and the `}`, further left, that closes it

    def run(self) -> Chunk:
        for i, token in enumerate(self.tokens):
            if not self._step(i, token):
                break
        if self.is_balanced:
            self._report_unclosed()
        self._report_semicolons()
        end = self.tokens[-1].end if self.tokens else 0
        self._add(Token("$END", "", end, end, value=self.end_word))
        return Chunk(self.result, self.depths, self.is_balanced)

    def _report_unclosed(self) -> None:
        """Report the brackets left open; of braces, rather the one that by its indentation was not closed."""
        for bracket in self.stack[1:]:
            opened = bracket.token
            assert opened is not None
            labels: tuple[Label, ...] = ()
            if self.suspect is not None and opened.kind == "{":
                opened, closing = self.suspect
                self.suspect = None
                labels = (Label(Span(self.source, closing.start, closing.end), "closed by this, further left"),)
            self._error("E0021", f"`{opened.text}` is never closed", opened, "opened here",
                        f"add the missing `{_CLOSING[opened.text]}`", labels)

    def _indent(self, offset: int) -> int:
        """White space before the first character of the line of `offset`."""
        line = self.source.line_text(self.source.line_column(offset)[0])
        return len(line) - len(line.lstrip())

    def _error(self, code: str, message: str, token: Token, label: str, fix: str | None = None,
               labels: tuple[Label, ...] = ()) -> None:
        self.is_balanced = False
        self.diagnostics.error(code, message, Span(self.source, token.start, token.end), label, fix=fix, labels=labels)

    def _add(self, token: Token) -> None:
        self.depths.append(len(self.stack) - 1)
        self.result.append(token)

    def _step(self, i: int, token: Token) -> bool:
        """Handle one token; False stops."""
        kind = token.kind
        top = self.stack[-1]
        if kind == ";":
            self.semicolons.append(token)
            self._separate(token, at_semicolon=True)
            return True
        if self.result and self._is_separated(token, top):
            self._separate(token)
        if kind in _CLOSING:
            if len(self.stack) > MAX_NESTING:
                self._error("E0022", f"brackets are nested more than {MAX_NESTING} deep", token, "one too many",
                            "name the inner part with `let`")
                return False
            top.in_options &= kind not in _ENDS_OPTIONS
            self._add(token)
            self.stack.append(_Bracket(token))
            return True
        if kind in (")", "]", "}"):
            return self._close(token)
        self._keyword(i, token, top)
        return True

    def _is_separated(self, token: Token, top: _Bracket) -> bool:
        before = self.result[-1]
        if top.token is None or top.token.kind != "{" or before.kind not in ENDS_OPERAND:
            return False
        if token.kind in _ALWAYS_STATEMENT:
            return True
        if not token.first_on_line or token.kind not in BEGINS_STATEMENT:
            return False
        return not (token.kind == "for" and top.awaits_for)

    def _separate(self, token: Token, at_semicolon: bool = False) -> None:
        """Put a separator before `token`; a `;` is one where a statement can end, and nothing elsewhere."""
        top = self.stack[-1]
        if at_semicolon and (not self.result or self.result[-1].kind not in ENDS_OPERAND or top.token is None
                             or top.token.kind != "{"):
            return
        top.in_options = top.awaits_for = False
        self._add(Token("_NL", "", token.start, token.start))

    def _close(self, token: Token) -> bool:
        top = self.stack[-1]
        if top.token is not None and _CLOSING[top.token.kind] == token.kind:
            self.stack.pop()
            if self.suspect is None and token.first_on_line and token.kind == "}" \
                    and self._indent(token.start) < self._indent(top.token.start):
                self.suspect = top.token, token
            if self.result[-1].kind == "_NL":
                self.result.pop()
                self.depths.pop()
            self._add(token)
            return True
        if top.token is None:
            self._error("E0023", f"`{token.text}` closes nothing", token, "no bracket is open here", "remove it")
        else:
            opened = Label(Span(self.source, top.token.start, top.token.end), "opened here")
            self._error("E0024", f"`{top.token.text}` is closed by `{token.text}`", token,
                        f"expected `{_CLOSING[top.token.kind]}`", labels=(opened,))
        return False

    def _keyword(self, i: int, token: Token, top: _Bracket) -> None:
        kind = token.kind
        following = self.tokens[i + 1] if i + 1 < len(self.tokens) else None
        if kind == "with":
            top.in_options = True
        elif kind in _ENDS_OPTIONS:
            top.in_options = False
            if kind == "for":
                top.awaits_for = False
        elif kind == "fold":
            top.awaits_for = True
        elif kind == "," and top.in_options:
            if self._continues_options(i):
                token.kind = "_OPTION_COMMA"
            else:
                top.in_options = False
        elif kind == "NAME" and following is not None:
            if token.text == "unordered" and following.kind == "for":
                token.kind = "unordered"
            elif token.text == "assert" and self._is_assertion(following):
                token.kind = "assert"
        self._add(token)

    def _continues_options(self, i: int) -> bool:
        """Whether `name =` (or `engine NAME`) follows the comma at `i`."""
        if i + 2 >= len(self.tokens) or self.tokens[i + 1].kind != "NAME":
            return False
        second = self.tokens[i + 2]
        return second.kind == "=" or (self.tokens[i + 1].text == "engine" and second.kind == "NAME")

    def _is_assertion(self, following: Token) -> bool:
        """Whether `assert`, first in its statement, stands before an expression."""
        if not self.result or self.result[-1].kind not in ("_NL", "{"):
            return False
        return following.kind in BEGINS_STATEMENT and not following.first_on_line

    def _report_semicolons(self) -> None:
        """One error for all `;` of a declaration: a newcomer writes many."""
        if self.semicolons:
            first = self.semicolons[0]
            more = len(self.semicolons) - 1
            self.diagnostics.error("E0025", "statements are not separated by `;`",
                                   Span(self.source, first.start, first.end),
                                   f"and {more} more in this declaration" if more else "",
                                   fix="remove it: a statement ends with its line")
