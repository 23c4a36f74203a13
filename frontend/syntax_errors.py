"""Messages for syntax errors: what the grammar accepts at a place, in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from .grammar_table import GrammarTable
from .syntax_help import suggest
from .tokens import DECLARATION_WORDS, RESERVED_WORDS, Token

_BEGINS_EXPRESSION = frozenset((
    "NAME", "INT", "FLOAT", "TEXT", "TEXT_HEAD", "(", "[", "{", "-", "not", "true", "false", "none", "if", "match",
    "for", "unordered", "fold", "loop", "try",
))
_CONTINUES_EXPRESSION = frozenset((
    "or", "and", "not", "in", "==", "!=", "<", "<=", ">", ">=", "??", "+", "-", "*", "/", "//", "%", ".", "with", "(",
    "[", "@", ":", "for", "..",
))
_CONTINUES_TYPE = frozenset(("?", "[", "(", "."))
_WORDS = {
    "NAME": "a name", "INT": "a number", "FLOAT": "a number", "DURATION": "a duration (`10s`)",
    "TEXT": 'a text (`"…"`)', "PROMPT": 'a prompt (`"""…"""`)', "_NL": "the end of the line", "_OPTION_COMMA": "`,`",
    "TEXT_MIDDLE": "`}`", "TEXT_TAIL": "`}`",
}
_HIDDEN = frozenset(("ERROR", "TEXT_HEAD", "unordered"))


def report_syntax_error(source: SourceFile, diagnostics: Diagnostics, table: GrammarTable, states: Sequence[int],
                        tokens: Sequence[Token], position: int) -> None:
    """Report that the token at `position` cannot follow the tokens before it."""
    token = tokens[position]
    before = tokens[position - 1] if position else None
    if before is not None and before.kind == "_NL":
        before = None
    accepted = accepted_kinds(table, states)
    in_tag = tokens[-1].value == "`}}`"
    wanted = describe(accepted, "`}}`" if in_tag else "the end of the declaration")
    if accepted == {"NAME"} and before is not None and before.kind in (":", "["):
        wanted = "a type"
    after = f" after {_shown(before)}" if before is not None else ""
    if before is not None and (token.first_on_line or token.kind in ("_NL", "$END")):
        span, label = Span(source, before.end, before.end + 1), ""
    else:
        span, label = Span(source, token.start, max(token.end, token.start + 1)), "unexpected"
    message = f"expected {wanted}{after}, found {_shown(token, is_found=True)}"
    diagnostics.error("E0001", message, span, label, fix=suggest(tokens, position, accepted))


def accepted_kinds(table: GrammarTable, states: Sequence[int]) -> frozenset[str]:
    """The kinds of token that can really follow, not only those that the LALR tables list."""
    candidates = [kind for kind in table.rows[states[-1]] if kind not in table.nonterminals]
    return frozenset(kind for kind in candidates if _accepts(table, list(states), kind))


def _accepts(table: GrammarTable, states: list[int], kind: str) -> bool:
    while True:
        action = table.rows[states[-1]].get(kind)
        if action is None:
            return False
        if action >= 0:
            return True
        rule = table.rules[-1 - action]
        if rule.size:
            del states[-rule.size:]
        states.append(table.rows[states[-1]][rule.origin])


def describe(accepted: frozenset[str], end_word: str) -> str:
    """`an expression or `)``, "`,` or `}`", …: what a set of kinds of token is in words."""
    words: list[str] = []
    rest = accepted - _HIDDEN
    if accepted >= {"NAME", "INT", "[", "("}:
        words.append("a statement" if "let" in accepted else "an expression")
        rest -= _BEGINS_EXPRESSION | {"let", "yield", "return", "assert", "..", ":"}
    elif accepted >= DECLARATION_WORDS:
        words.append("a declaration")
        rest -= DECLARATION_WORDS
    elif accepted >= {"+", "*", "=="}:
        rest -= _CONTINUES_EXPRESSION
        if "_NL" in rest:
            rest = frozenset(("_NL",))
        elif "," in rest:
            rest -= {"="}
    else:
        # `?` after a type, `(` beside a name in `for (a, b)`: possible, but not what was left out.
        shorter = rest - _CONTINUES_TYPE - ({"_NL"} if "," in rest else set())
        rest = shorter or rest
    order = sorted(rest, key=lambda kind: (kind == "$END", kind in (")", "]", "}"), kind not in _WORDS, kind))
    words += dict.fromkeys(end_word if kind == "$END" else _WORDS.get(kind, f"`{kind}`") for kind in order)
    if len(words) > 1:
        return ", ".join(words[:-1]) + " or " + words[-1]
    return words[0] if words else "an operator"


def _shown(token: Token, is_found: bool = False) -> str:
    """How a message names a token."""
    if token.kind == "_NL":
        return "the end of the line"
    if token.kind == "$END":
        return str(token.value)
    if token.kind == "PROMPT":
        return "the prompt"
    if token.kind in RESERVED_WORDS and is_found:
        return f"the reserved word `{token.text}`"
    return f"`{token.text if len(token.text) <= 30 else token.text[:29] + '…'}`"
