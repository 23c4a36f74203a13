"""The nearest known name to one that is unknown."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a misspelt `name` most likely stands for, or None."""
    from difflib import get_close_matches

    similar = sorted({c for c in candidates if abs(len(c) - len(name)) <= 3 and c != name})[:5_000]
    folded = {c.lower(): c for c in similar}
    if name.lower() in folded:
        return folded[name.lower()]
    found = get_close_matches(name, similar, 1, 0.65)
    return found[0] if found else None
