"""Where declarations begin: one that is broken does not spoil the next."""

from __future__ import annotations

from .syntax_help import FOREIGN_DECLARATIONS
from .tokens import DECLARATION_WORDS, Token


def split_declarations(tokens: list[Token], text: str) -> list[list[Token]]:
    """Cut at each declaration word that stands where a declaration can begin, whatever brackets are open.

    No statement begins with two names, so `program P` at the start of a line begins a declaration even after a
    bracket that was never closed: one broken declaration does not spoil the next.
    """
    starts = [i for i, token in enumerate(tokens) if token.kind == "NAME" and _begins_declaration(
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
    if token.text == "test" and following.kind == "{":
        return i == 0 or tokens[i - 1].kind in ("}", "TEXT")  # a test without its name
    names = "TEXT" if token.text in ("use", "test") else "NAME"
    if following.kind != names or following.first_on_line:
        return False
    if i == 0:
        return True
    before = tokens[i - 1]
    if token.first_on_line:
        return before.kind not in ("->", ":", ",", "=", "|")
    return before.kind in ("}", "TEXT")
