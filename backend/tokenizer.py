"""A model directory's tokenizer under the language's rules for pieces, without `transformers`.

Pieces are encoded with special tokens disabled, one by one; no piece but a prompt's first gets a dummy
prefix space, chat-template text never does; BOS belongs to the engine's root context, not to any piece.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import tokenizers

from ..ir.target import TokenizerError
from .chat_template import ChatTemplate
from .token_bytes import decode_bytes, token_byte_table, tokens_are_bounded_by_bytes, without_dummy_prefix

PIECE_CACHE_SIZE = 4096


class PieceTokenizer:
    """Implements `ir.target.Tokenizer` with the `tokenizers` library.

    `tokenizer_json`: text of `tokenizer.json`. `special_tokens`: `bos_token`, `eos_token`, … by name.
    `bos_token`: text of the token that opens every context, or None. Raises TokenizerError.
    """

    def __init__(
        self,
        tokenizer_json: str,
        *,
        special_tokens: Mapping[str, str],
        bos_token: str | None,
        eos_ids: frozenset[int],
        chat_template: str | None,
    ) -> None:
        model = json.loads(tokenizer_json)
        self._scaffold = _new_tokenizer(tokenizer_json)
        self._first = _new_tokenizer(tokenizer_json)
        self._first.encode_special_tokens = True
        self.bytes_bound_tokens = tokens_are_bounded_by_bytes(model)
        self.has_dummy_prefix = without_dummy_prefix(model)
        self._later = self._first
        if self.has_dummy_prefix:
            changed = json.dumps(model)
            self._scaffold = _new_tokenizer(changed)
            self._later = _new_tokenizer(changed)
            self._later.encode_special_tokens = True
        self._bytes = token_byte_table(model, self._first.get_vocab(with_added_tokens=True))
        self.vocabulary_size = len(self._bytes)
        self.longest_token_bytes = max(map(len, self._bytes))
        self.eos_ids = eos_ids
        self.bos_id = self._first.token_to_id(bos_token) if bos_token is not None else None
        if bos_token is not None and self.bos_id is None:
            raise TokenizerError(f"the tokenizer has no token {bos_token!r}, which its configuration names as BOS")
        self._template = ChatTemplate(chat_template, dict(special_tokens), bos_token) if chat_template else None
        identity = [tokenizer_json, sorted(special_tokens.items()), bos_token, sorted(eos_ids), chat_template]
        self.digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        self._encode_piece = lru_cache(PIECE_CACHE_SIZE)(self._encode)

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        """Ids of one piece, special tokens disabled, no BOS; `first` when it opens the prompt."""
        return list(self._encode_piece(text, first and self.has_dummy_prefix))

    def _encode(self, text: str, dummy_prefix: bool) -> tuple[int, ...]:
        if not text:
            return ()  # some tokenizers turn no text into a prefix space
        encoder = self._first if dummy_prefix else self._later
        return tuple(encoder.encode(text, add_special_tokens=False).ids)

    def encode_scaffold(self, text: str) -> list[int]:
        """Ids of chat-template text, special tokens enabled, no BOS added, no dummy prefix."""
        return list(self._scaffold.encode(text, add_special_tokens=False).ids) if text else []

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; empty for special tokens and for ids that the vocabulary lacks."""
        return self._bytes[token_id] if 0 <= token_id < len(self._bytes) else b""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids; incomplete UTF-8 at the end is dropped, special tokens give nothing."""
        return decode_bytes(b"".join(map(self.token_bytes, token_ids)))

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        """See `ir.target.Tokenizer`. Raises TokenizerError, also when the model has no chat template."""
        if self._template is None:
            raise TokenizerError(
                "the model has no chat template, which prompts with roles need; write the prompt as one text without "
                "roles, or put a chat_template.jinja into the model's directory"
            )
        return self._template.scaffold(roles_so_far, role)


def load_tokenizer(directory: str | Path) -> PieceTokenizer:
    """The tokenizer of a model directory (`tokenizer.json` and its configuration files). Raises TokenizerError."""
    directory = Path(directory)
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise TokenizerError(f"{directory} has no tokenizer.json; save the model's fast tokenizer there")
    text = path.read_text(encoding="utf-8")
    config = _read_json(directory / "tokenizer_config.json")
    special = _special_tokens(_read_json(directory / "special_tokens_map.json"), config)
    library = _new_tokenizer(text)
    return PieceTokenizer(
        text,
        special_tokens=special,
        bos_token=_bos_token(library, special, config),
        eos_ids=_eos_ids(directory, library, special),
        chat_template=_chat_template(directory, config),
    )


def _new_tokenizer(text: str) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"tokenizer.json cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizerError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise TokenizerError(f"{path} does not hold a JSON object")
    return content


def _special_tokens(*sources: dict[str, Any]) -> dict[str, str]:
    """`bos_token`, `eos_token`, … by name; later sources win."""
    found: dict[str, str] = {}
    for source in sources:
        for name, value in source.items():
            content = value.get("content") if isinstance(value, dict) else value
            if name.endswith("_token") and isinstance(content, str):
                found[name] = content
    return found


def _bos_token(library: tokenizers.Tokenizer, special: Mapping[str, str], config: Mapping[str, Any]) -> str | None:
    """The BOS text if the tokenizer puts it in front: by `add_bos_token`, else by its post-processor."""
    bos = special.get("bos_token")
    if bos is None:
        return None
    if isinstance(config.get("add_bos_token"), bool):
        return bos if config["add_bos_token"] else None
    with_special = library.encode("a", add_special_tokens=True).ids
    return bos if with_special and with_special[0] == library.token_to_id(bos) else None


def _eos_ids(directory: Path, library: tokenizers.Tokenizer, special: Mapping[str, str]) -> frozenset[int]:
    """The tokenizer's EOS and those of the generation (or model) configuration."""
    ids: set[int] = set()
    token_id = library.token_to_id(special["eos_token"]) if "eos_token" in special else None
    if token_id is not None:
        ids.add(token_id)
    for name in ("generation_config.json", "config.json"):
        value = _read_json(directory / name).get("eos_token_id")
        if value is not None:
            ids.update(value if isinstance(value, list) else [value])
            break
    return frozenset(ids)


def _chat_template(directory: Path, config: Mapping[str, Any]) -> str | None:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates
        by_name = {entry.get("name"): entry.get("template") for entry in template}
        template = by_name.get("default")
    return template if isinstance(template, str) else None
