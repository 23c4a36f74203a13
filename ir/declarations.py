"""The types that `sem.enum` and `sem.record` declare."""

from __future__ import annotations

from collections.abc import Mapping

from .core import Literal, Table
from .types import Enum, EnumMember, Field, Record, Type


def enum_type(name: str, attributes: Mapping[str, Literal]) -> Enum | None:
    """The type that `sem.enum(@name)` with these attributes declares; None if they are malformed."""
    members, texts = attributes.get("members"), attributes.get("texts")
    if not isinstance(members, tuple) or not isinstance(texts, tuple) or len(members) != len(texts):
        return None
    pairs = [(m, t) for m, t in zip(members, texts, strict=True) if isinstance(m, str) and isinstance(t, str)]
    if len(pairs) != len(members):
        return None
    return Enum(name, tuple(EnumMember(m, t) for m, t in pairs))


def record_type(name: str, attributes: Mapping[str, Literal]) -> Record | None:
    """The type that `sem.record(@name)` with these attributes declares; None if they are malformed."""
    table = attributes.get("fields")
    if not isinstance(table, Table):
        return None
    fields = [Field(n, t) for n, t in table.entries if isinstance(t, Type)]
    return Record(name, tuple(fields)) if len(fields) == len(table.entries) else None
