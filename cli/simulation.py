"""Making simulated engines, all in one virtual time."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ..ir.diagnostics import InputError
from ..ir.target import TokenizerError
from .configuration import CONFIGURATION, Simulation
from .models import model_error

if TYPE_CHECKING:
    from ..backend.engine import Engine
    from ..backend.simulate.devices import SimulatedDevice


class Simulator:
    """Makes the engines that a `Simulation` asks for. Raises InputError for costs that do not exist."""

    def __init__(self, simulation: Simulation, *, prefix_cache: bool, trace: bool) -> None:
        from ..backend.simulate.virtual_clock import VirtualClock

        self._simulation = simulation
        self._device = device(simulation.costs)
        self._prefix_cache = prefix_cache
        self._trace = trace
        self.clock = VirtualClock(host_seconds=simulation.host_seconds)

    def engine(self, model: str | None, alias: str) -> Engine:
        """Engines with the tokenizer of `model` (None: the embedded one); a group where there are several."""
        from ..backend.embedded import embedded_tokenizer_directory
        from ..backend.engine_group import EngineGroup
        from ..backend.reference import read_context_length, reference_runner
        from ..backend.simulate.engine import SimulatedEngine
        from ..backend.tokenizer import load_tokenizer
        from ..backend.torch_engine.errors import ModelLoadError
        from ..backend.torch_engine.model_directory import model_directory

        try:
            directory = embedded_tokenizer_directory() if model is None else model_directory(model)
            tokenizer = load_tokenizer(directory)
        except (ModelLoadError, TokenizerError) as error:
            raise model_error(alias, error) from None
        costs, length = self._device.costs, read_context_length(directory)
        engines = [
            SimulatedEngine(reference_runner(tokenizer, length), tokenizer, self.clock, costs,
                            kv_slots=self._device.kv_slots, prefix_cache=self._prefix_cache, trace=self._trace)
            for _ in range(self._simulation.engines)]
        return engines[0] if len(engines) == 1 else EngineGroup(engines, costs=costs, prefix_cache=self._prefix_cache)


def device(name: str) -> SimulatedDevice:
    """The simulated device called `name`."""
    from ..backend.simulate.devices import DEVICES

    if name not in DEVICES:
        close = get_close_matches(name, DEVICES, 1)
        raise InputError.of(CONFIGURATION, f"there are no costs `{name}`",
                            fix=f"did you mean `{close[0]}`?" if close else f"there are {', '.join(DEVICES)}")
    return DEVICES[name]
