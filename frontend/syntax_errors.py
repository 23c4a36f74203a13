"""Messages for syntax errors: what the grammar accepts at a place, in words, and help for habits of other languages."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from .grammar_table import GrammarTable
from .tokens import DECLARATION_WORDS, RESERVED_WORDS, Token

_BEGINS_EXPRESSION = frozenset(
    "NAME INT FLOAT TEXT TEXT_HEAD ( [ { - not true false none if match for unordered fold loop try".split()
)
_OPERATORS = frozenset("or and not in == != < <= > >= ?? + - * / // % . with".split())
_WORDS = {
    "NAME": "a name", "INT": "a number", "FLOAT": "a number", "DURATION": "a duration (`10s`)", "TEXT": "a text (`\"…\"`)",
    "PROMPT": 'a prompt (`"""…"""`)', "_NL": "the end of the line", "_OPTION_COMMA": "`,`", "$END": "the end",
    "TEXT_MIDDLE": "`}`", "TEXT_TAIL": "`}`",
}
_HIDDEN = frozenset(("ERROR", "TEXT_HEAD"))

_FOREIGN_DECLARATIONS = {
    **dict.fromkeys(("def", "fn", "func", "function", "fun", "async", "pub"),
                    "a program is declared `program name(x: text) -> y: text { … }`, a prompt with `semantic`"),
    **dict.fromkeys(("class", "struct", "interface", "record", "dataclass", "data"),
                    "a record is declared `type Name { field: text, … }`"),
    **dict.fromkeys(("import", "from", "include", "require"), 'another file is used by `use "path.sem"`'),
    **dict.fromkeys(("prompt", "template", "signature"), "a prompt is declared `semantic Name(x: text) -> y: text { … }`"),
    **dict.fromkeys(("let", "const", "var"), "values are named inside a `program`"),
}
_FOREIGN_WORDS = {
    "elif": "write `else if`", "elsif": "write `else if`", "elseif": "write `else if`",
    "const": "write `let`", "var": "write `let`", "mut": "values never change: remove `mut`",
    "def": "programs are declared at the top of the file, with `program`", "lambda": "Sem has no lambda: use `for` or a comprehension",
    "is": "write `==`", "switch": "write `match e { a => …, _ => … }`", "case": "write `pattern => value`",
    "then": "write `if c { … } else { … }`", "except": "write `try e else d`", "catch": "write `try e else d`",
    "await": "calls wait by themselves: remove `await`", "new": "a record is made by a call: `Name(field = …)`",
    "raise": "Sem has no exceptions", "import": 'another file is used by `use "path.sem"`, at the top of the file',
}


def report_syntax_error(source: SourceFile, diagnostics: Diagnostics, table: GrammarTable, states: Sequence[int],
                        tokens: Sequence[Token], position: int) -> None:
    """Report that the token at `position` cannot follow."""
    token = tokens[position]
    before = tokens[position - 1] if position else None
    accepted = accepted_kinds(table, states)
    wanted = describe(accepted)
    after = f" after {_shown(before)}" if before is not None and before.kind != "_NL" else ""
    message = f"expected {wanted}{after}, found {_shown(token)}"
    span = Span(source, token.start, max(token.end, token.start + (token.kind != "$END" and token.kind != "_NL")))
    diagnostics.error("E0001", message, span, "unexpected", fix=suggest(tokens, position, accepted))


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
        goto = table.rows[states[-1]].get(rule.origin)
        if goto is None:  # the start symbol is complete
            return kind == "$END"
        states.append(goto)


def describe(accepted: frozenset[str]) -> str:
    """`an expression`, "`,` or `)`", …: what a set of kinds of token is in words."""
    words: list[str] = []
    rest = set(accepted - _HIDDEN)
    if accepted >= {"NAME", "INT", "(", "["}:
        words.append("a statement" if "let" in accepted else "an expression")
        rest -= _BEGINS_EXPRESSION | {"let", "yield", "return", "assert"}
    elif accepted >= DECLARATION_WORDS:
        words.append("a declaration")
        rest -= DECLARATION_WORDS
    if accepted >= {"+", "*", "=="}:
        rest -= _OPERATORS | {"(", "["}
        if not rest:
            words.append("an operator")
    order = sorted(rest, key=lambda kind: (kind not in _WORDS, kind == "_NL", kind))
    words += dict.fromkeys(_WORDS.get(kind, f"`{kind}`") for kind in order)
    if len(words) > 1:
        return ", ".join(words[:-1]) + " or " + words[-1]
    return words[0] if words else "nothing more"


def _shown(token: Token) -> str:
    """How a message names a token."""
    if token.kind in ("$END", "_NL"):
        return "the end of the line" if token.kind == "_NL" else "the end"
    if token.kind == "PROMPT":
        return "the prompt"
    text = token.text if len(token.text) <= 30 else token.text[:29] + "…"
    if token.kind in RESERVED_WORDS:
        return f"the reserved word `{text}`"
    return f"`{text}`"


def suggest(tokens: Sequence[Token], position: int, accepted: frozenset[str]) -> str | None:
    """What to write instead, where the habit behind the error can be guessed."""
    token = tokens[position]
    before = tokens[position - 1] if position else None
    text = token.text
    at_declaration = accepted >= DECLARATION_WORDS
    if at_declaration:
        return _FOREIGN_DECLARATIONS.get(text, "a file holds `use`, `enum`, `type`, `model`, `host`, `semantic`, "
                                               "`program` and `test`")
    if text == "=" and "==" in accepted:
        return "`=` names a value after `let`; to compare, write `==`"
    for word in (token, before):
        if word is not None and word.kind == "NAME" and word.text in _FOREIGN_WORDS and not word.text.isupper():
            return _FOREIGN_WORDS[word.text]
    return _suggest_for_place(tokens, position, accepted)


def _suggest_for_place(tokens: Sequence[Token], position: int, accepted: frozenset[str]) -> str | None:
    token = tokens[position]
    before = tokens[position - 1] if position else None
    if token.kind in RESERVED_WORDS and "NAME" in accepted and "INT" not in accepted:
        return f"`{token.text}` is reserved: choose another name, as `{token.text}_`"
    if token.kind == "PROMPT" and "TEXT" in accepted:
        return 'a prompt stands only in a `semantic` body; write `"…"`, with `\\n` for a line break'
    if token.kind == "**" or (before is not None and before.kind == "**"):
        return "Sem has no power operator"
    if token.kind == ":" and before is not None and before.kind in ("TEXT", "NAME") and position > 1 \
            and tokens[position - 2].kind == "{":
        return 'a map is written `["key": value]`, a record `Name(field = value)`'
    if token.kind == ":" and "{" in accepted:
        return "a body stands in braces: `{ … }`"
    if accepted == {"else"} or ("else" in accepted and "+" in accepted and token.kind in ("_NL", "}", "$END")):
        return "an `if` whose value is used needs an `else`"
    if accepted == {":"} and token.kind in (",", ")", "="):
        return "every parameter and field has a type: `name: text`"
    if token.kind == "NAME" and accepted == {":"}:
        return "the type follows the name: `name: text`"
    if token.kind == "NAME" and "," in accepted and "_NL" not in accepted:
        return "a `,` is missing"
    return None
