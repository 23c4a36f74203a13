"""How the executor makes failed values (`ir.values.Failure`); whoever uses one fails with the same object."""

from __future__ import annotations

from enum import StrEnum

from ..ir.core import Op
from ..ir.source import Location
from ..ir.values import Failure


class FailureKind(StrEnum):
    """What failed."""

    PURE = "pure"
    """A pure function: a division by zero, an overflow."""
    HOST = "host"
    """A host function raised, or could not be imported."""
    TIMEOUT = "timeout"
    """A host function did not answer in time."""
    BOUNDARY = "boundary"
    """A host function gave a value of another type than it declares."""
    ENGINE = "engine"
    """A fill or generate failed on its engine."""
    OPTION = "option"
    """An option of a generate had a value that it may not have."""
    CANCELLED = "cancelled"
    """The run ended before the value was there."""
    INTERNAL = "internal"
    """A defect of the executor."""


def failure(op: Op, message: str, kind: FailureKind) -> Failure:
    """The failure of an operation."""
    return failure_at(op.location, message, kind)


def failure_at(location: Location, message: str, kind: FailureKind) -> Failure:
    """The failure of what was written at `location`; its sites are call chains, innermost site first."""
    sites = tuple(" < ".join(map(str, chain)) for chain in location.chains)
    return Failure(message, str(location), kind.value, sites)
