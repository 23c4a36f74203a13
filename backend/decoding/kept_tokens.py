"""Which generated tokens a context keeps after an output, and what replaces the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.target import Tokenizer


def split_kept(tokens: Sequence[int], text: str, cut_space: bool, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """(kept_ids, tail_ids): the longest run of `tokens` whose bytes begin the value's, then the rest as a piece.

    With `cut_space` the context really holds the leading space that was cut from the value, so the bytes compared
    are a space and the value's. A run that ends inside a character is only kept where nothing is left after it.
    """
    wanted = (" " if cut_space else "").encode() + text.encode()
    if b"".join([tokenizer.token_bytes(token) for token in tokens]) == wanted:
        return list(tokens), []
    length, kept, kept_length = 0, 0, 0
    for i, token in enumerate(tokens):
        data = tokenizer.token_bytes(token)
        if wanted[length : length + len(data)] != data or len(data) > len(wanted) - length:
            break
        length += len(data)
        if length == len(wanted) or (wanted[length] & 0xC0) != 0x80:
            kept, kept_length = i + 1, length
    rest = wanted[kept_length:].decode()
    return list(tokens[:kept]), tokenizer.encode_piece(rest, first=False) if rest else []
