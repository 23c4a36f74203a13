"""Other spellings of a text: base64, hexadecimal, percent signs, reversed. Secrets hide in them, by chance too."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, unquote

HIDDEN = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
                    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef]")
"""Signs that nobody sees."""

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,4096}={0,2}")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2}){12,2048}")
_PERCENT = re.compile(r"[\w.~+-]*(?:%[0-9A-Fa-f]{2}[\w.~+=&:;/@-]*){1,512}")
_TAGS = re.compile("[\U000e0020-\U000e007e]{8,}")
FEWEST_LETTERS = 8


@lru_cache(maxsize=256)
def spelled_otherwise(value: str) -> list[str]:
    """How `value` may stand in a text that was encoded, the longest first.

    In base64 a value looks different at each of three places; what depends on its neighbours is left out.
    """
    data = value.encode("utf-8", "replace")
    found = {data.hex(), data.hex().upper(), quote(value, safe=""), quote(value), value[::-1]}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # The first signs mix with what stands before, the last one with what follows unless a group ends there.
        inner = encoded[(0, 2, 3)[before]:]
        inner = inner if (before + len(data)) % 3 == 0 else inner[:-1]
        if len(inner) >= FEWEST_LETTERS:
            found |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return sorted((spelling for spelling in found if spelling != value), key=lambda s: (-len(s), s))


def encoded_runs(text: str) -> Iterator[tuple[str, str]]:
    """Runs of signs that decode to a readable text, each with that text."""
    for match in _TAGS.finditer(text):
        yield match[0], "".join(chr(ord(sign) - 0xE0000) for sign in match[0])
    if "%" in text:
        for match in _PERCENT.finditer(text):
            yield match[0], unquote(match[0], errors="replace")
    for match in _HEXADECIMAL.finditer(text):
        if (decoded := _readable(binascii.unhexlify(match[0]))) is not None:
            yield match[0], decoded
    for match in _BASE64.finditer(text):
        run = match[0].rstrip("=")
        try:
            data = base64.urlsafe_b64decode(run.replace("+", "-").replace("/", "_") + "=" * (-len(run) % 4))
        except (ValueError, binascii.Error):
            continue
        if (decoded := _readable(data)) is not None:
            yield match[0], decoded


def _readable(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(sign.isprintable() or sign in "\r\n\t" for sign in text) else None
