"""What executes each operation, by name."""

from __future__ import annotations

from collections.abc import Callable

from . import control_flow, generation, hosts
from .pure_calls import PureCall
from .region_instance import OpTask


def run_pure(task: OpTask) -> None:
    """`flow.pure`: evaluated as soon as the operands that it looks at are known."""
    call = task.layout.data or task.run.pure.call(task.layout)
    assert isinstance(call, PureCall)
    task.finish(call(task.raw_operands()))


def run_group(task: OpTask) -> None:
    """`engine.group`: a declaration."""
    task.done()


def run_free(task: OpTask) -> None:
    """`engine.free`: the instance no longer holds the contexts; each lives on while something else does."""
    slots = task.instance.slots
    for slot in task.layout.operands:
        slots[slot] = None
    task.done()


HANDLERS: dict[str, Callable[[OpTask], None]] = {
    "flow.pure": run_pure, "engine.free": run_free, "engine.group": run_group,
    **control_flow.HANDLERS, **generation.HANDLERS, **hosts.HANDLERS,
}
"""Called when the operands that the operation waits for are known, and again after `NotReady`."""
