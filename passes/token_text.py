"""Which text a part of a token list stands for."""

from __future__ import annotations

from ..ir.core import TokenList
from ..ir.target import Tokenizer


class TokenTexts:
    """Cuts token lists; the texts of the parts are for readers, what counts are the ids."""

    def __init__(self) -> None:
        self._ends: dict[int, list[int] | None] = {}
        """By the identity of the list, which lives as long as the operation that it is in."""

    def cut(self, tokens: TokenList, start: int, stop: int, tokenizer: Tokenizer | None) -> TokenList:
        """Tokens `start..stop` of `tokens`. Bytes that are no whole character at a cut show as U+FFFD."""
        if start == 0 and stop == len(tokens.ids):
            return tokens
        ids = tokens.ids[start:stop]
        if tokenizer is None:
            return TokenList(ids, "", tokens.scaffold)
        if id(tokens) not in self._ends:
            self._ends[id(tokens)] = token_ends(tokens, tokenizer)
        ends = self._ends[id(tokens)]
        if ends is None:
            return TokenList(ids, tokenizer.decode(ids), tokens.scaffold)
        data = tokens.text.encode()[ends[start - 1] if start else 0 : ends[stop - 1]]
        return TokenList(ids, data.decode(errors="replace"), tokens.scaffold)


def token_ends(tokens: TokenList, tokenizer: Tokenizer) -> list[int] | None:
    """Where each token ends in the UTF-8 bytes of the text; None where the tokens do not spell it.

    A special token spells what stands before the next ordinary one; the second of two in a row spells nothing.
    """
    data = tokens.text.encode()
    ends: list[int] = []
    at, waiting = 0, 0
    for token in tokens.ids:
        piece = tokenizer.token_bytes(token)
        if not piece:
            waiting += 1
            continue
        found = data.find(piece, at) if waiting else at
        if found < 0 or not data.startswith(piece, found):
            return None
        ends += [found] * waiting
        at, waiting = found + len(piece), 0
        ends.append(at)
    if at < len(data) and not waiting:
        return None
    return ends + [len(data)] * waiting
