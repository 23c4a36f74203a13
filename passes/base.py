"""What a pass is: a frozen dataclass of options that transforms modules. How to write one: see `manager`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from ..ir.core import Module
from ..ir.definition import EVERY_LEVEL, Level
from ..ir.target import Target

Finding: TypeAlias = Literal["lengths", "plans"]
"""What passes share (`shared_analyses`): bounds of values, and the plans of programs. Lowering changes neither values
nor their sizes; of annotations plans depend on the bounds of outputs only.
"""
Preserves: TypeAlias = Literal["tokens", "distribution", "text"]


@dataclass(frozen=True)
class Report:
    """What a pass did: one sentence for users, and counters (0 where nothing fired).

    `sites`: tokens saved by place in the source (`file:line:column` of an output), for passes that save tokens.
    """

    sentence: str
    counters: Mapping[str, int] = field(default_factory=dict)
    sites: Mapping[str, int] = field(default_factory=dict)

    @property
    def fired(self) -> int:
        """The sum of the counters whose names do not speak of tokens: how often the pass did something."""
        return sum(count for name, count in self.counters.items() if "tokens" not in name)


@dataclass(frozen=True)
class Pass(ABC):
    """A transformation of modules. Instances are immutable and may run on any number of modules."""

    name: ClassVar[str]
    """The name on the command line, in kebab case."""
    preserves: ClassVar[Preserves] = "tokens"
    """`tokens`: every live output sees the same tokens and random stream. `distribution`: outputs may differ, their
    distribution does not. `text`: prompts change. Only the first runs without being allowed by name."""
    levels: ClassVar[frozenset[Level]] = EVERY_LEVEL
    """The levels of modules that it takes."""
    gives: ClassVar[Level | None] = None
    """The level of the module afterwards; None for the level before."""
    keeps: ClassVar[frozenset[Finding]] = frozenset()
    """What passes found out before it and may use after it: it writes nothing that this depends on."""

    @abstractmethod
    def run(self, module: Module, target: Target) -> Report:
        """Transform `module` in place for `target`.

        Raises InputError for what the source got wrong (a prompt that cannot fit, say).
        """
