"""The tokens of a declaration or tag for the parser: which brackets match, which line ends separate statements.

A line end separates two statements (or members, fields, arms) inside `{ … }` when the token before it may end an
expression and the token after it may begin a statement: so a line that begins with an operator, `.`, `,`, `else` or
`{` goes on with the line before; one that begins with a name, a literal, `(`, `[` or `-` begins a statement. Inside
`( … )` and `[ … ]` line ends mean nothing. `let`, `yield`, `return` always begin a statement.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import SourceFile, Span
from .tokens import BEGINS_STATEMENT, ENDS_OPERAND, Token

MAX_NESTING = 100
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_ALWAYS_STATEMENT = frozenset(("let", "yield", "return"))
_ENDS_OPTIONS = frozenset(("else", "for", "@", "if", "=>", "{"))


@dataclass
class Chunk:
    """The tokens of one declaration or tag, ended by `$END`; `depths[i]` counts the brackets open before token i.

    A BROKEN token stands where brackets do not match: the error is reported, the statement is to be skipped.
    """

    tokens: list[Token]
    depths: list[int]


@dataclass
class _Bracket:
    """An open bracket and what is pending directly inside it."""

    token: Token | None
    in_options: bool = False  # after `with`: a comma before `name =` belongs to the options
    awaits_for: bool = False  # after `fold`: its `for` may stand on a new line


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
        self.semicolons: list[Token] = []
        self.suspect: tuple[Token, Token] | None = None  # a `{` and the `}`, further left, that closes it

    def run(self) -> Chunk:
        for i, token in enumerate(self.tokens):
            if len(self.stack) > MAX_NESTING:
                self._error("E0022", f"brackets are nested more than {MAX_NESTING} deep", token, "too deep",
                            "name the inner part with `let`")
                self._add_broken(token)
                break
            self._step(i, token)
        else:
            self._check_all_closed()
        self._report_semicolons()
        end = self.tokens[-1].end if self.tokens else 0
        self._add(Token("$END", "", end, end, value=self.end_word))
        return Chunk(self.result, self.depths)

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    def _error(self, code: str, message: str, token: Token, label: str, fix: str | None = None,
               labels: tuple[Label, ...] = ()) -> None:
        self.diagnostics.error(code, message, self._span(token), label, fix=fix, labels=labels)

    def _add(self, token: Token) -> None:
        self.depths.append(len(self.stack) - 1)
        self.result.append(token)

    def _add_broken(self, token: Token) -> None:
        self._add(Token("BROKEN", "", token.start, token.start))

    def _step(self, i: int, token: Token) -> None:
        kind = token.kind
        if kind == ";":
            self.semicolons.append(token)
            if self.result and self.result[-1].kind in ENDS_OPERAND and self._inside("{"):
                self._separate(token)
            return
        if kind in _ALWAYS_STATEMENT and token.first_on_line:
            self._leave_unclosed(token)
        if self.result and self._is_separated(token):
            self._separate(token)
        if kind in _CLOSING:
            self.stack[-1].in_options &= kind not in _ENDS_OPTIONS
            self._add(token)
            self.stack.append(_Bracket(token))
        elif kind in (")", "]", "}"):
            self._close(token)
        else:
            self._keyword(i, token, self.stack[-1])

    def _inside(self, *openings: str) -> bool:
        top = self.stack[-1].token
        return top is not None and top.kind in openings

    def _is_separated(self, token: Token) -> bool:
        before = self.result[-1].kind
        if not self._inside("{") or (before not in ENDS_OPERAND and before != "PROMPT"):
            return False
        if token.kind in _ALWAYS_STATEMENT:
            return True
        if before == "PROMPT" or not token.first_on_line or token.kind not in BEGINS_STATEMENT:
            return False
        return not (token.kind == "for" and self.stack[-1].awaits_for)

    def _separate(self, token: Token) -> None:
        self.stack[-1].in_options = self.stack[-1].awaits_for = False
        self._add(Token("_NL", "", token.start, token.start))

    # ---- brackets

    def _close(self, token: Token) -> None:
        matching = [i for i in range(1, len(self.stack)) if _CLOSING[self._opening(i).kind] == token.kind]
        if not matching:
            self._add_broken(token)
            if token.kind == "}" or not self._inside("(", "["):
                self._error("E0023", f"`{token.text}` closes nothing", token, "", "remove it")
            else:
                opened = self._opening(-1)
                self._error("E0024", f"`{opened.text}` is closed by `{token.text}`", token,
                            f"expected `{_CLOSING[opened.kind]}`", labels=(Label(self._span(opened), "opened here"),))
                self.stack.pop()
            return
        if matching[-1] != len(self.stack) - 1:
            comes_first = Label(self._span(token), "this comes before its end")
            self._report_unclosed(self._opening(matching[-1] + 1), comes_first)
            del self.stack[matching[-1] + 1:]
            self._add_broken(token)
        opened = self._opening(-1)
        self.stack.pop()
        if self.suspect is None and token.first_on_line and token.kind == "}" \
                and self._indent(token.start) < self._indent(opened.start):
            self.suspect = opened, token
        if self.result[-1].kind == "_NL":
            self.result.pop()
            self.depths.pop()
        self._add(token)

    def _opening(self, index: int) -> Token:
        token = self.stack[index].token
        assert token is not None
        return token

    def _leave_unclosed(self, token: Token) -> None:
        """A statement begins inside `(` or `[`, so these are unclosed, if there is a body around them."""
        body = max((i for i in range(1, len(self.stack)) if self._opening(i).kind == "{"), default=None)
        if body is not None and body + 1 < len(self.stack):
            self._report_unclosed(self._opening(body + 1), Label(self._span(token), "the next statement begins here"))
            del self.stack[body + 1:]
            self._add_broken(token)
            self._separate(token)

    def _check_all_closed(self) -> None:
        """Report what is open at the end: rather the `{` that by its indentation was not closed."""
        last = self.tokens[-1] if self.tokens else None
        if len(self.stack) == 1 or last is None:
            return
        if last.kind == "PROMPT" and not last.text.endswith('"""', 3):
            pass  # the prompt that is not closed has swallowed the rest
        elif self.suspect is not None and self._inside("{"):
            opened, closing = self.suspect
            self._report_unclosed(opened, Label(self._span(closing), "closed by this, further left"))
        else:
            others = [Label(self._span(self._opening(i)), "open, too") for i in range(1, len(self.stack) - 1)]
            self._report_unclosed(self._opening(-1), *others[-2:])
        self.stack = self.stack[:1]
        self._add_broken(last)

    def _report_unclosed(self, opened: Token, *labels: Label) -> None:
        self._error("E0021", f"`{opened.text}` is never closed", opened, "opened here",
                    f"add the missing `{_CLOSING[opened.kind]}`", labels)

    def _indent(self, offset: int) -> int:
        """White space before the first character of the line of `offset`."""
        line = self.source.line_text(self.source.line_column(offset)[0])
        return len(line) - len(line.lstrip())

    # ---- words that only their neighbours make keywords

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
            if token.text == "unordered" and following.kind == "for" and not self._is_variable(i, top):
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

    def _is_variable(self, i: int, top: _Bracket) -> bool:
        """Whether the `unordered` at `i` is a variable: the seed of a `fold`, or in a comprehension, without a body."""
        if top.awaits_for or top.token is None or top.token.kind != "[":
            return top.awaits_for
        depth = 0
        for token in self.tokens[i:]:
            if token.kind in _CLOSING:
                if depth == 0 and token.kind == "{":
                    return False
                depth += 1
            elif token.kind in (")", "]", "}"):
                depth -= 1
                if depth < 0:
                    break
        return True

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
