"""The bytes that each token stands for, and a detokenizer that never shows half a character."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

from ..ir.target import TokenizerError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "▁"


def byte_level_alphabet() -> dict[str, int]:
    """Byte-level BPE's character for each byte, inverted: printable bytes stand for themselves, others for U+0100…

    Source: GPT-2's `bytes_to_unicode` (Radford et al. 2019), restated.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    return alphabet | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def token_byte_table(model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> list[bytes]:
    """Bytes of every token id of a parsed `tokenizer.json`; special tokens have none.

    Raises TokenizerError for tokenizers that are neither byte-level nor sentencepiece-like.
    """
    table = [b""] * (max(vocabulary.values(), default=-1) + 1)
    parts = {part.get("type") for part in _parts(model.get("pre_tokenizer"))}
    decoders = {part.get("type") for part in _parts(model.get("decoder"))}
    added = {token["content"]: bool(token["special"]) for token in model.get("added_tokens", [])}
    if "ByteLevel" in parts | decoders:
        alphabet = byte_level_alphabet()

        def to_bytes(token: str) -> bytes:
            return bytes(alphabet[c] for c in token) if all(c in alphabet for c in token) else token.encode()
    elif model["model"].get("byte_fallback") or "Metaspace" in parts | decoders or _has_space_mark(model):

        def to_bytes(token: str) -> bytes:
            found = _BYTE_TOKEN.fullmatch(token)
            return bytes([int(found[1], 16)]) if found else token.replace(_SPACE_MARK, " ").encode()
    else:
        raise TokenizerError(
            f"the tokenizer (model {model['model'].get('type')}) is neither byte-level nor sentencepiece-like, so its "
            "tokens have no exact bytes; use a model with a byte-level BPE, or a sentencepiece tokenizer"
        )
    for token, token_id in vocabulary.items():
        if token in added:
            table[token_id] = b"" if added[token] else token.encode()
        else:
            table[token_id] = to_bytes(token)
    return table


def _parts(node: Any) -> list[dict[str, Any]]:
    """A tokenizer component and, where it is a sequence, its members."""
    if not node:
        return []
    members = node.get("pretokenizers") or node.get("decoders") or node.get("normalizers") or []
    return [node, *(part for member in members for part in _parts(member))]


def _has_space_mark(model: Mapping[str, Any]) -> bool:
    return any(part.get("content") == _SPACE_MARK for part in _parts(model.get("normalizer")))


def without_dummy_prefix(model: dict[str, Any]) -> bool:
    """Change a parsed `tokenizer.json` so that it adds no space in front; whether that changed anything."""
    changed = False
    for part in _parts(model.get("pre_tokenizer")):
        if part.get("type") == "Metaspace" and part.get("prepend_scheme", "always") != "never":
            part["prepend_scheme"], changed = "never", True
            part.pop("add_prefix_space", None)
        elif part.get("type") == "ByteLevel" and part.get("add_prefix_space"):
            part["add_prefix_space"], changed = False, True
    normalizer = model.get("normalizer")
    if normalizer and normalizer.get("type") == "Prepend":
        model["normalizer"], changed = None, True
    elif normalizer and normalizer.get("type") == "Sequence":
        kept = [part for part in normalizer["normalizers"] if part.get("type") != "Prepend"]
        changed = changed or len(kept) < len(normalizer["normalizers"])
        normalizer["normalizers"] = kept
    return changed


def tokens_are_bounded_by_bytes(model: Mapping[str, Any]) -> bool:
    """Whether no text has more tokens than UTF-8 bytes, a dummy prefix aside.

    Each token stands for at least one byte of the text unless a normalizer can make the text longer.
    """
    for part in _parts(model.get("normalizer")):
        one_for_one = part.get("type") == "Replace" and len(part.get("content", "")) == 1 and (
            part.get("pattern", {}).get("String"))
        if part.get("type") not in ("Prepend", "Sequence") and not one_for_one:
            return False
    return True


class IncrementalDecoder:
    """Bytes in, text out: an incomplete character is held back, bytes that can be no character become U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, data: bytes) -> str:
        """The characters that `data` completes."""
        return self._decoder.decode(data)


def decode_bytes(data: bytes) -> str:
    """Text of the bytes; an incomplete character at the end is dropped, invalid bytes become U+FFFD."""
    return IncrementalDecoder().push(data)
