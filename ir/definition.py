"""What an operation declares: arguments, results, attributes, effects, regions and its own checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from .core import Op


class Level(Enum):
    """The stages of a module, and the name that `--emit` takes."""

    SEM = "sem"
    PROMPT = "prompt"
    ENGINE = "engine"


class Trait(Enum):
    """Facts about an operation that passes ask for instead of its name."""

    PURE = "pure"
    """Same operands, same results; may be merged, moved and dropped."""
    SAMPLED = "sampled"
    """Pure when it is deterministic (greedy, or its stream key equal); may be dropped. See `effects.mergeable`."""
    EFFECTFUL = "effectful"
    """Runs exactly once; ordered by effect operands."""
    REGION = "region"
    """As pure as what its regions hold."""
    NON_STRICT = "non_strict"
    """Looks at operands that failed instead of failing with them."""
    TERMINATOR = "terminator"
    ISOLATED = "isolated"
    """Its regions see no values from around them."""
    DECLARATION = "declaration"
    """Stands at the top level of a module and declares a symbol."""
    CONTEXT = "context"
    """Makes a KV context (or prompt) from another one: costs tokens, shares by equality."""


@dataclass(frozen=True)
class AttributeDefinition:
    """An attribute: its kind in words (see `rules.attributes.KINDS`), what it means, whether it must be there.

    `merge`: whether operations that differ in it are different; False for objective, slack, group and the like.
    """

    name: str
    kind: str
    summary: str
    required: bool = False
    merge: bool = True


@dataclass(frozen=True)
class OpDefinition:
    """The definition of one operation; the op reference in docs/ is generated from it."""

    name: str
    summary: str
    arguments: str
    results: str
    traits: frozenset[Trait]
    levels: frozenset[Level]
    attributes: tuple[AttributeDefinition, ...] = ()
    keywords: tuple[str, ...] = ()
    """The words before its second and later regions; it has `len(keywords) + 1` regions when `regions`."""
    regions: bool = False
    check: Callable[[Op], Iterable[str]] = lambda op: ()
    """Yields what is wrong with the operation by itself (arity, types, attributes beyond their kinds)."""

    def attribute(self, name: str) -> AttributeDefinition | None:
        """The definition of the attribute `name`."""
        return next((a for a in self.attributes if a.name == name), None)


EVERY_LEVEL = frozenset(Level)
HIGH = frozenset({Level.SEM, Level.PROMPT})
