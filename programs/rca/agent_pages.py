"""Long texts for the agent: parts that have to do with a question, and pages of what was kept of a long answer."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from typing import Any

from .outcomes import Outcome
from .quoting import LINE_CHARACTERS
from .snapshots import KEY, directory

PASSAGE_CHARACTERS, MOST_PASSAGES = 700, 3
PAGE_CHARACTERS = 3_000
READ_BYTES = 1_000_000
"""So much of a snapshot can be read on in, from its beginning."""
_WORD = re.compile(r"\w+")


def passages(content: str, question: str) -> str:
    """The passages of `content` that share most with `question`, in their order, its beginning if none does.

    Words count as in BM25 without length normalisation: rare ones more, repeated ones less and less.
    """
    parts = _split(content)
    wanted = set(_words(question))
    counts = [Counter(word for word in _words(part) if word in wanted) for part in parts]
    frequency = Counter(word for count in counts for word in count)
    scores = [sum(math.log(1 + len(parts) / frequency[word]) * n / (n + 1.2) for word, n in count.items())
              for count in counts]
    best = sorted(range(len(parts)), key=lambda row: (-scores[row], row))[:MOST_PASSAGES]
    return "\n…\n".join(parts[row] for row in sorted(best))


def _split(content: str) -> list[str]:
    """Parts of whole lines, each of about `PASSAGE_CHARACTERS`; a longer line is cut into several."""
    parts, part = [], ""
    for line in content.split("\n"):
        for piece in [line[i:i + LINE_CHARACTERS] for i in range(0, len(line), LINE_CHARACTERS)] or [""]:
            if part and len(part) + len(piece) >= PASSAGE_CHARACTERS:
                parts.append(part)
                part = ""
            part = f"{part}\n{piece}" if part else piece
    return [*parts, part]


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if len(word) > 2]


def read_page(key: str, words: str, page: int) -> dict[str, Any]:
    """A page of a snapshot as evidence; with `words` (alternatives with `|` between) only lines that hold one of them.

    The page is cut out of the masked text, so that no secret can be cut in two.
    """
    query = f"{key} page {page}" + (f" | {words}" if words else "")
    evidence: dict[str, Any] = {"id": "", "source": "snapshot", "query": query, "time": "", "table": {}}
    try:
        text, whole = masked_snapshot(key)
    except (KeyError, OSError):
        return evidence | {"outcome": str(Outcome.ERROR), "text": f"there is no snapshot {key!r} any more"}
    if words:
        wanted = [part.strip().casefold() for part in words.split("|") if part.strip()]
        text = "\n".join(line for line in text.split("\n") if any(part in line.casefold() for part in wanted))
    pages = max(1, math.ceil(len(text) / PAGE_CHARACTERS))
    cut = text[page * PAGE_CHARACTERS:(page + 1) * PAGE_CHARACTERS]
    table = {"page": str(page), "pages": str(pages)} | ({} if whole else {"read": f"the first {READ_BYTES} bytes"})
    return evidence | {"outcome": str(Outcome.OK if cut.strip() else Outcome.EMPTY), "text": cut, "table": table}


@lru_cache(maxsize=8)
def masked_snapshot(key: str) -> tuple[str, bool]:
    """The beginning of a snapshot, masked, and whether that is all of it. Raises KeyError."""
    from .masking import SECRET_KINDS, Masks, kind_of, unmask
    from .outcomes import clean
    path = directory() / key
    if not KEY.fullmatch(key) or not path.is_file():
        raise KeyError(key)
    with path.open("rb") as file:
        content = file.read(READ_BYTES)
    whole = path.stat().st_size <= READ_BYTES
    text = clean((content if whole else content[:content.rfind(b"\n") + 1]).decode("utf-8", "replace"))
    masks = Masks()
    masks.mask(text)
    masked = masks.mask(text)
    # Only secrets stay masked here; what else is masked gets the placeholders of the investigation.
    return unmask(masked, {n: v for n, v in masks.values.items() if kind_of(n) not in SECRET_KINDS}), whole
