"""The outputs of a program: delivered one by one, as soon as all of each is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir.core import Op
from .cells import NotReady, Task, force

if TYPE_CHECKING:
    from .run import Run


class OutputTask(Task):
    """Delivers one output when all of it is known."""

    __slots__ = ("number", "run", "value")

    def __init__(self, run: Run, number: int, value: Any) -> None:
        super().__init__(run.queue)
        self.run = run
        self.number = number
        self.value = value
        run.queue.append(self)

    @property
    def op(self) -> Op:
        """The program."""
        return self.run.program

    def execute(self) -> None:
        try:
            value = force(self.value)
        except NotReady as wait:
            self.wait_for(wait.cells)
            return
        self.value = None
        self.run.deliver(self.number, value)


def output_names(program: Op) -> list[str]:
    """The names of a program's outputs; an effect that it returns last has none."""
    names = program.regions[0].terminator.attributes.get("names") or ()
    assert isinstance(names, tuple)
    return [str(name) for name in names]
