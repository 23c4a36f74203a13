"""Help with syntax errors: what to write instead of what is habit in Python, Rust, JavaScript or Jinja."""

from __future__ import annotations

from collections.abc import Sequence

from .tokens import DECLARATION_WORDS, RESERVED_WORDS, Token

_USE = 'another file is used by `use "path.sem"`'
_PROGRAM = "a program is declared `program Name(x: text) -> y: text { … }`, a prompt with `semantic`"
_RECORD = "a record is declared `type Name { field: text, … }`"
_PROMPT = "a prompt is declared `semantic Name(x: text) -> y: text { … }`"
FOREIGN_DECLARATIONS = {
    "def": _PROGRAM, "fn": _PROGRAM, "func": _PROGRAM, "function": _PROGRAM, "fun": _PROGRAM, "async": _PROGRAM,
    "pub": _PROGRAM, "class": _RECORD, "struct": _RECORD, "interface": _RECORD, "record": _RECORD, "import": _USE,
    "from": _USE, "include": _USE, "prompt": _PROMPT, "template": _PROMPT, "let": "values are named inside a `program`",
    "const": "values are named inside a `program`", "var": "values are named inside a `program`",
}
"""Words that begin a declaration in other languages, and its form in this one."""

FOREIGN_NAMES = {"None": "none", "null": "none", "nil": "none", "undefined": "none", "True": "true", "False": "false"}
"""Names that other languages give to constants of this one; they are usable as names."""

_FOREIGN_WORDS = {
    "elif": "write `else if`", "elsif": "write `else if`", "elseif": "write `else if`", "const": "write `let`",
    "var": "write `let`", "mut": "values never change: remove `mut`",
    "lambda": "functions are not values: write a comprehension or a `for`",
    "is": "write `==`", "switch": "write `match e { a => …, _ => … }`", "case": "write `pattern => value`",
    "then": "write `if c { … } else { … }`", "except": "write `try e else d`", "catch": "write `try e else d`",
    "await": "calls wait for their arguments by themselves: remove `await`",
    "new": "a record is made by a call: `Name(field = …)`", "import": f"{_USE}, at the top of the file",
    "def": f"{_PROGRAM}, at the top of the file", "of": "write `for x in xs`",
}
_CONDITIONAL = "write `if c { a } else { b }`"


def suggest(tokens: Sequence[Token], position: int, accepted: frozenset[str]) -> str | None:
    """What to write instead of the token at `position`, where the habit behind the error can be guessed."""
    token = tokens[position]
    if accepted >= DECLARATION_WORDS:
        return FOREIGN_DECLARATIONS.get(
            token.text, "a file holds `use`, `enum`, `type`, `model`, `host`, `semantic`, `program` and `test`")
    for word in tokens[max(0, position - 1):position + 1][::-1]:
        if word.kind == "NAME" and word.text in _FOREIGN_WORDS:
            return _FOREIGN_WORDS[word.text]
    if "+" in accepted and "==" in accepted:
        return _after_expression(tokens, position, accepted)
    return _elsewhere(tokens, position, accepted)


def _after_expression(tokens: Sequence[Token], position: int, accepted: frozenset[str]) -> str | None:
    """Help where an expression is complete."""
    token, before = tokens[position], tokens[position - 1]
    kind = token.kind
    if kind == "=":
        if before.kind == "NAME" and (position < 2 or tokens[position - 2].kind in ("_NL", "{")):
            return "a value is named once, with `let`; to compare, write `==`"
        return "to compare, write `==`"
    if kind == ":":
        if "{" in accepted:
            return "a body stands in braces: `{ … }`"
        if position > 1 and tokens[position - 2].kind == "{":
            return 'a map is written `["key": value]`, a record `Name(field = value)`'
        if position + 1 < len(tokens) and tokens[position + 1].kind == ":":
            return "write `.` for `::`"
        if "," in accepted and ")" in accepted:
            return "a named argument is written `name = value`"
    if kind in ("?", "if"):
        return _CONDITIONAL
    if kind == "**":
        return "there is no power operator"
    if kind == "..":
        return "a slice is written `xs[a:b]`, numbers in a row `range(a, b)`"
    if kind == "=>":
        return "functions are not values: write a comprehension or a `for`"
    if kind == "{" and "_NL" in accepted and before.kind == "NAME":
        return f"a record is made by a call: `{before.text}(field = …)`"
    if "else" in accepted and not accepted & {"_NL", ",", ")"}:
        return "`try` needs an `else`: `try e else d`"
    return "a `,` is missing" if "," in accepted and "_NL" not in accepted else None


def _elsewhere(tokens: Sequence[Token], position: int, accepted: frozenset[str]) -> str | None:
    """Help where no operator can stand."""
    token = tokens[position]
    kind = token.kind
    before = tokens[position - 1] if position else None
    if kind in RESERVED_WORDS and "NAME" in accepted and "INT" not in accepted:
        return f"`{token.text}` is reserved: choose another name, as `{token.text}_`"
    if kind == "PROMPT" and "TEXT" in accepted:
        return 'a prompt stands only in a `semantic` body; write `"…"`, with `\\n` for a line break'
    if kind == "," and accepted == {":", "="}:
        return "names in a `let` stand in parentheses: `let (a, b) = …`"
    if accepted == {"TEXT"}:
        is_unnamed = before is not None and before.text == "test" and kind == "{"
        return 'name the test: `test "…" { … }`' if is_unnamed else 'write it in quotes: `"…"`'
    if kind in ("->", ":", "=") and "=>" in accepted:
        return "write `pattern => value`"
    if before is not None and before.kind == "+" and kind in ("=", "+"):
        return "values never change: name a new one with `let`, or carry one through a `fold` or `loop`"
    if accepted == {"="} and before is not None:
        return f"give it a value: `{before.text} = …`"
    if accepted == {"else"}:
        return "an `if` whose value is used needs an `else`"
    if accepted <= {":", ".", "?"} and ":" in accepted and before is not None:
        if position > 1 and tokens[position - 2].kind == "->":
            return f"name the output: `-> answer: {before.text}`"
        return f"write its type: `{before.text}: text`"
    if before is not None and before.kind == "." and position > 1 and tokens[position - 2].kind == "INT":
        return f"write `{tokens[position - 2].text}.0`"
    if "," in accepted and "{" not in accepted and kind in ("NAME", "TEXT", "INT"):
        return "a `,` is missing"
    return None
