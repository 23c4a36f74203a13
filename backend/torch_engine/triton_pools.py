"""The KV pools of the Triton attention kernels on a GPU, and one step over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...kernels.triton.attention import DevicePlan, Pool, TritonAttention
from ...kernels.triton.plan import LayerGroup, Planner
from ...kernels.triton.tiles import Tiles, supports
from ...kernels.triton.tuned import tiles_on
from ..model_runner import StepBatch
from .errors import first_line
from .kv_pools import LayerShape, Step

PlanKey = tuple[Tiles, LayerGroup]

OLDEST = 80
"""The compute capability from which the kernels are tested."""


class TritonPools:
    """Implements `kv_pools.KVPools` by the Triton kernels.

    `invariant`: no bit of a row's result depends on the other rows of its step, nor on the chunks that its prompt
    was computed in. Attention gets slower by it.
    """

    kernel = "tree attention (Triton)"

    def __init__(self, layers: Sequence[LayerShape], slots: int, device: torch.device, *,
                 invariant: bool = False) -> None:
        if invariant:
            self.kernel = "batch-invariant tree attention (Triton)"
        self._tiles = [tiles_on(device, layer.key_size, layer.value_size, _name(layer.dtype), one=invariant)
                       for layer in layers]
        self._groups = [(layer.kv_heads, layer.heads // layer.kv_heads) for layer in layers]
        self._kernels = {tiles: TritonAttention(tiles, device) for tiles in self._tiles}
        self._planners = {tiles: Planner(tiles, kernels.programs, invariant=invariant)
                          for tiles, kernels in self._kernels.items()}
        self._pools = [Pool.allocate(slots, layer.kv_heads, layer.key_size, layer.value_size, layer.dtype, device)
                       for layer in layers]
        self._device = device
        self._plans: dict[PlanKey, DevicePlan] = {}
        self._recorded: dict[PlanKey, DevicePlan] = {}
        """Plans of recorded steps, whose buffers keep their places while they can."""
        self.recorded_rows = 1
        """Most rows of a recorded step."""
        self._rows = 0
        self._layers = layers
        self._slots = slots

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools)

    def begin(self, batch: StepBatch, slots: Tensor) -> Step:
        """See `kv_pools.KVPools`."""
        return _TritonStep(self, slots, partial(self._load, batch))

    def _load(self, batch: StepBatch, layer: int, window: int | None) -> tuple[DevicePlan, int]:
        key = self.plan_key(layer, window)
        # The buffers stay from step to step; on one stream, a step's copy waits for the kernels of the last.
        return self._fill(self._plans.setdefault(key, DevicePlan(self._device)), key, batch)

    def _fill(self, place: DevicePlan, key: PlanKey, batch: StepBatch, rows: int = 0) -> tuple[DevicePlan, int]:
        tiles, group = key
        plan = self._planners[tiles].plan_step(batch, group, rows)
        place.load(plan)
        return place, plan.kv_tokens_read

    # ---- recorded steps ----

    @property
    def recorded_moves(self) -> int:
        """Changes when a buffer that recorded steps use has got another place."""
        return sum(1 + place.moves for place in self._recorded.values())

    def load_recorded(self, batch: StepBatch, rows: int) -> int:
        """Plan a step of one token for each row, padded to `rows`, for those that replay; the keys that it reads."""
        self._rows = rows
        most = 0
        for key, place in self._recorded.items():
            most = max(most, self._fill(place, key, batch, rows)[1])
            for layer in range(len(self._layers)):
                if self._tiles[layer] == key[0] and self._groups[layer] == (key[1].kv_heads, key[1].group):
                    place.reserve(self._layers[layer].heads, self._layers[layer].value_size)
        return most

    def recorded_step(self, slots: Tensor) -> Step:
        """A step that is recorded, over the plans of `load_recorded`; its rows go to `slots` int64 [rows]."""
        return _TritonStep(self, slots, self._place)

    def _place(self, layer: int, window: int | None) -> tuple[DevicePlan, int]:
        key = self.plan_key(layer, window)
        place = self._recorded.get(key)
        if place is None:
            # Room for each slot once, and for a few partial results of each row.
            place = DevicePlan(self._device, integers=2 * self._slots + 64 * self.recorded_rows + (1 << 12),
                               partials=16 * self.recorded_rows)
            self._recorded[key] = place
            self._fill(place, key, StepBatch((), ()), self._rows)
        return place, 0

    def layer(self, number: int) -> tuple[TritonAttention, Pool]:
        """The kernels and the pool of a layer."""
        return self._kernels[self._tiles[number]], self._pools[number]

    def plan_key(self, layer: int, window: int | None) -> PlanKey:
        """Layers of one key share a plan."""
        return self._tiles[layer], LayerGroup(*self._groups[layer], window)


def refusal(layers: Sequence[LayerShape], device: torch.device) -> str | None:
    """Why the kernels do not compute these layers on this device; None where they do. Compiles and tries them."""
    if _capability(device) < OLDEST:
        return "the GPU is older than compute capability 8.0"
    for layer in set(layers):
        if not supports(layer.heads, layer.kv_heads, layer.key_size, layer.value_size, _name(layer.dtype)):
            return (f"they do not compute {layer.heads} heads of size {layer.key_size} over {layer.kv_heads} KV heads "
                    f"in {_name(layer.dtype)}")
    try:
        for layer in set(layers):
            _try(layer, device)
    except Exception as error:  # whatever a compiler or a driver raises
        return f"{type(error).__name__}: {first_line(error)}"
    return None


class _TritonStep:
    """One step: what each layer writes and reads. `plan_of` gives the plan of a layer and a window, and the keys that
    it reads."""

    def __init__(self, pools: TritonPools, slots: Tensor,
                 plan_of: Callable[[int, int | None], tuple[DevicePlan, int]]) -> None:
        self._pools = pools
        self._slots = slots
        self._plan_of = plan_of
        self._plans: dict[PlanKey, tuple[DevicePlan, int]] = {}
        self._layer = 0

    @property
    def kv_tokens_read(self) -> int:
        return max((read for _, read in self._plans.values()), default=0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, window: int | None,
               soft_cap: float | None, sinks: Tensor | None) -> Tensor:
        number = self._layer
        self._layer += 1
        plan_key = self._pools.plan_key(number, window)
        if plan_key not in self._plans:
            self._plans[plan_key] = self._plan_of(number, window)
        kernels, pool = self._pools.layer(number)
        query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
        kernels.store(key, value, self._slots, pool)
        output = kernels.attend(query, pool, self._plans[plan_key][0], scale=scale, soft_cap=soft_cap, sinks=sinks,
                                window=window)
        return output[None]

    def finish(self) -> None:
        """Check that every layer has attended once."""
        count = len(list(self._pools))
        if self._layer != count:
            raise RuntimeError(f"{self._layer} of {count} layers attended in this step")


def _try(layer: LayerShape, device: torch.device) -> None:
    """Compile and run the kernels for one token of a layer: its attention is its value."""
    kernels = TritonAttention(tiles_on(device, layer.key_size, layer.value_size, _name(layer.dtype)), device)
    pool = Pool.allocate(16, layer.kv_heads, layer.key_size, layer.value_size, layer.dtype, device)
    planner = Planner(kernels.tiles, kernels.programs)
    plan = DevicePlan(device)
    group = layer.heads // layer.kv_heads
    plan.load(planner.plan([], [_OneToken()], LayerGroup(layer.kv_heads, group)))
    key = torch.ones(1, layer.kv_heads, layer.key_size, dtype=layer.dtype, device=device)
    value = torch.full((1, layer.kv_heads, layer.value_size), 3.0, dtype=layer.dtype, device=device)
    kernels.store(key, value, torch.zeros(1, dtype=torch.int64, device=device), pool)
    found = kernels.attend(key.repeat_interleave(group, dim=1), pool, plan)
    if not bool((found == 3.0).all()):
        raise ArithmeticError("wrong numbers")


class _OneToken:
    """A segment of one token in slot 0, without a context."""

    def __init__(self) -> None:
        self.slots = np.zeros(1, np.int64)
        self.first_position = 0
        self.ancestors: tuple[int, ...] = ()


def _capability(device: torch.device) -> int:
    if device.type != "cuda":
        return 90  # Triton's interpreter
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
