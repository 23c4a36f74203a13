"""A tokenizer for tests whose tokens are the UTF-8 bytes, so that token counts can be read off texts."""

from collections.abc import Sequence


class ByteTokenizer:
    """One token for each UTF-8 byte, 256 ends a text; a chat template that writes `<role>` before each part."""

    vocabulary_size = 257
    eos_ids = frozenset({256})
    bos_id: int | None = None
    has_dummy_prefix = False
    longest_token_bytes = 1
    digest = "bytes"

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        return list(text.encode())

    def encode_scaffold(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, token_ids)).decode(errors="ignore")

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        return f"<{role}>"
