"""Recorded work without a GPU: a replay does the work again, and must do what was recorded.

A CUDA graph replays launches with the arguments that they were recorded with. So whatever differs between two runs of
the work in anything but the contents of buffers would be lost in a replay: an operation more or less, another shape,
another number from the host, or a buffer at another address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from semlang.kernels.triton import element_kernels, kernels, linear_kernels
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

LOOKS = ("aten.item", "_local_scalar_dense", "nonzero", "aten.equal", "unique", "masked_select")
"""Operations after which the host knows numbers of the device: no graph can be recorded of them."""
KERNELS = {"attend": kernels, "merge": kernels, "store": kernels, "rms_norm": element_kernels, "gate": element_kernels,
           "rotate": element_kernels, "linear": linear_kernels}


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation of torch, and every launch of our kernels, with all that a recording would keep."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: list[tuple[Any, ...]] = []
        self._made: set[int] = set()
        self._kept: list[Tensor] = []

    def describe(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            place = value.untyped_storage().data_ptr()
            address = "made here" if place in self._made else value.data_ptr()
            return tuple(value.shape), value.stride(), str(value.dtype), address
        if isinstance(value, Mapping):
            return tuple((key, self.describe(part)) for key, part in value.items())
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(map(self.describe, value))
        return value if isinstance(value, int | float | bool | str | None) else str(value)

    def note_made(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._kept.append(value)  # so that its address is not given to another tensor
            self._made.add(value.untyped_storage().data_ptr())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for part in value:
                self.note_made(part)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        looks = any(name in str(function) for name in LOOKS)
        assert not looks, f"{function}: the host looks at the device's numbers"
        self.entries.append((str(function), self.describe(args), self.describe(kwargs or {})))
        known = {value.untyped_storage().data_ptr() for value in args if isinstance(value, Tensor)}
        result = function(*args, **(kwargs or {}))
        if not (isinstance(result, Tensor) and result.untyped_storage().data_ptr() in known):
            self.note_made(result)
        return result


class _Launches:
    """A kernel whose launches a trace notes."""

    def __init__(self, name: str, kernel: Any, traces: list[Trace]) -> None:
        self._name, self._kernel, self._traces = name, kernel, traces

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(*args: Any, **constants: Any) -> None:
            for trace in self._traces:
                trace.entries.append((self._name, grid, trace.describe(args), trace.describe(constants)))
            with torch.utils._python_dispatch._disable_current_modes():
                self._kernel[grid](*args, **constants)

        return launch


class RecordedGraphs:
    """Implements `step_graph.GraphMaker`. `captured`: how often something was recorded; `replayed`: or replayed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.captured = self.replayed = 0
        self._traces: list[Trace] = []
        for name, module in KERNELS.items():
            monkeypatch.setattr(module, name, _Launches(name, getattr(module, name), self._traces))

    def trace(self, work: Callable[[], None]) -> list[tuple[Any, ...]]:
        trace = Trace()
        self._traces.append(trace)
        try:
            with trace:
                work()
        finally:
            self._traces.remove(trace)
        return trace.entries

    def capture(self, work: Callable[[], None]) -> RecordedGraph:
        work()
        self.captured += 1
        return RecordedGraph(self, work, self.trace(work))


class RecordedGraph:
    """Implements `step_graph.StepGraph`."""

    def __init__(self, maker: RecordedGraphs, work: Callable[[], None], entries: list[tuple[Any, ...]]) -> None:
        self._maker, self._work, self._entries = maker, work, entries

    def replay(self) -> None:
        self._maker.replayed += 1
        entries = self._maker.trace(self._work)
        for recorded, now in zip(self._entries, entries, strict=True):
            assert recorded == now, f"a replay would do {recorded}, not {now}"
