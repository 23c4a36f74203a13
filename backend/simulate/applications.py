"""Applications of which only shapes are known: calls with lengths, what each waits for, and when they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..engine import Priority

COMMON = 1 << 20
"""Keys of segments below this are the same texts in all applications; those above belong to one application."""
THROUGHPUT = Priority()


@dataclass(frozen=True, slots=True)
class CallShape:
    """One generate. `segments`: key and tokens of each piece of its prompt; `output`, `tokens`: of what it writes.

    `needs`: the calls, by number, that it waits for; `delay`: seconds between the last of them (or the arrival of the
    application) and the moment when the engines have the call, such as a client's round trip.
    """

    segments: tuple[tuple[int, int], ...]
    output: int
    tokens: int
    needs: tuple[int, ...] = ()
    priority: Priority = field(default=THROUGHPUT)
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class ApplicationShape:
    """A run of a program that arrives at `arrival` (seconds). `kind`: what its times are counted as."""

    arrival: float
    calls: tuple[CallShape, ...]
    kind: str = ""


@dataclass(slots=True)
class ApplicationRun:
    """An application on its way: how many calls each call still waits for, and where its texts are resident."""

    number: int
    shape: ApplicationShape
    missing: list[int]
    consumers: list[list[int]]
    open: int
    engines: set[int] = field(default_factory=set)

    @staticmethod
    def of(number: int, shape: ApplicationShape) -> ApplicationRun:
        """A run that has not begun. Raises ValueError for a call that waits for itself or a later one."""
        consumers: list[list[int]] = [[] for _ in shape.calls]
        missing = []
        for position, call in enumerate(shape.calls):
            for need in call.needs:
                if not 0 <= need < position:
                    raise ValueError(f"call {position} of an application waits for call {need}")
                consumers[need].append(position)
            missing.append(len(call.needs))
        return ApplicationRun(number, shape, missing, consumers, len(shape.calls))

    def ready_at_first(self) -> list[int]:
        """The calls that wait for none."""
        return [number for number, missing in enumerate(self.missing) if not missing]

    def ended(self, number: int) -> list[int]:
        """A call has ended; the calls that wait for none any more."""
        self.open -= 1
        ready = []
        for consumer in self.consumers[number]:
            self.missing[consumer] -= 1
            if not self.missing[consumer]:
                ready.append(consumer)
        return ready


def in_order(applications: Iterable[ApplicationShape]) -> Iterable[ApplicationShape]:
    """The same, checked to come in the order of their arrival. Raises ValueError."""
    last = 0.0
    for application in applications:
        if application.arrival < last:
            raise ValueError("applications must come in the order of their arrival")
        last = application.arrival
        yield application
