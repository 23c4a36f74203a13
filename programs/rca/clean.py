"""What embeddings and summaries read: the words of a diagnosis without markup, addresses, identifiers and numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from .masking import PLACEHOLDER, kind_of, mask_texts

MOST_WORDS = 300
"""Words that a prompt gets; the published pipeline cuts there too."""
MOST_KEPT_WORDS = 2000
"""Words that a history keeps, and incidents are found by."""

_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(\s[^<>]*)?/?>")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+|\bwww\.\S+", re.IGNORECASE)
_GUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"\b(?:0x[0-9a-f]+|(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,})\b", re.IGNORECASE)
_FILE_NAME = re.compile(r"(?<!\w)(?:[A-Za-z]:)?(?:[\w.-]*[\\/])+[\w.-]*\.\w{1,5}\b")
_DIGITS = re.compile(r"\d+")
_BRACKETS = re.compile(r"[\[\](){}<>]")
_LONE_SIGNS = re.compile(r"(?<!\w)[^\w\s]+(?!\w)")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_SKIPPED = frozenset({"script", "style"})


class _Text(HTMLParser):
    """Collects the text of a page; each tag separates words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append(" ")
        self._skipping = self._skipping or (tag if tag in _SKIPPED else "")

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(" ")
        if tag == self._skipping:
            self._skipping = ""

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(data)


def strip_html(text: str) -> str:
    """The text of an HTML fragment; text without a tag stays as it is."""
    if not _TAG.search(text):
        return text
    parser = _Text()
    parser.feed(text)
    parser.close()
    return "".join(parser.parts)


def cut_words(text: str, most: int) -> str:
    """The first `most` words, joined by single spaces."""
    return " ".join(text.split(None, most)[:most])


def clean(text: str, most_words: int = MOST_WORDS) -> str:
    """Words in their order, one space between; no tags, URLs, GUIDs, file names, numbers, brackets or lone signs."""
    text = strip_html(text)
    for pattern in (_URL, _GUID, _HEXADECIMAL, _FILE_NAME, _BRACKETS, _DIGITS, _LONE_SIGNS):
        text = pattern.sub(" ", text)
    return cut_words(text, most_words)


def clean_masked(text: str, most_words: int = MOST_WORDS) -> str:
    """As `clean`, without what `masking` takes for secrets and identifying values: their kind stands for them."""
    return clean(without_secrets(strip_html(text)), most_words)


def without_secrets(text: str) -> str:
    """`text` with the kind of each secret and identifying value in its place."""
    masked, _ = mask_texts([text])
    return PLACEHOLDER.sub(lambda found: kind_of(found[0]), masked[0])


def letters_only(text: str) -> str:
    """What embeddings by words see: words of letters, in lower case, one space between; the parts of a_b are words."""
    return _NO_LETTERS.sub(" ", strip_html(text).lower()).strip()
