"""Making engines for models, once for each, and closing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ..ir.target import ModelTarget, Target, TokenizerError
from . import messages
from .models import ModelChoice, model_error
from .profiles import stored_profile

if TYPE_CHECKING:
    from ..backend.engine import Engine
    from ..backend.step_engine import StepEngine
    from .simulation import Simulator


class EnginePool:
    """Engines by kind, device and model; a context manager that closes them."""

    def __init__(self, *, prefix_cache: bool, trace: bool = False) -> None:
        self._prefix_cache = prefix_cache
        self._trace = trace
        self._engines: dict[tuple[str, str, str, str | None], Engine] = {}
        self._simulator: Simulator | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._engines.values():
            engine.close()

    def engines(self, choice: ModelChoice) -> dict[str, Engine]:
        """The engine of each alias. Raises InputError where a model cannot be had."""
        found: dict[str, Engine] = {}
        for alias, model in choice.models.items():
            key = choice.engine, choice.device, choice.arithmetic, model
            if key not in self._engines:
                self._engines[key] = self._make(choice, alias)
            found[alias] = self._engines[key]
        return found

    def _make(self, choice: ModelChoice, alias: str) -> Engine:
        if choice.engine == "simulate":
            return self._simulate(choice, alias)
        engines = self._load(choice, alias)
        profile = stored_profile(choice.engine, choice.models[alias], choice.device, choice.arithmetic)
        for engine in engines:
            engine.costs = profile.costs if profile is not None else None
        if len(engines) == 1:
            return engines[0]
        from ..backend.engine_group import EngineGroup

        return EngineGroup(engines, prefix_cache=self._prefix_cache, name=choice.engine)

    def _simulate(self, choice: ModelChoice, alias: str) -> Engine:
        from .simulation import Simulator

        if self._simulator is None:
            self._simulator = Simulator(choice.simulation, prefix_cache=self._prefix_cache, trace=self._trace)
        return self._simulator.engine(choice.models[alias], alias)

    def _load(self, choice: ModelChoice, alias: str) -> list[StepEngine]:
        from ..backend.torch_engine.errors import ModelLoadError

        model = choice.models[alias]
        try:
            if choice.engine == "reference":
                from ..backend.reference import reference_engine
                from ..backend.torch_engine.model_directory import model_directory

                directory = model and model_directory(model)
                return [reference_engine(directory, name=name, prefix_cache=self._prefix_cache, trace=self._trace)
                        for name in engine_names(choice)]
            from ..backend.torch_engine.engine import torch_engine, torch_engines

            messages.progress(f"loading {model or 'the embedded model'} …")
            if choice.count > 1:
                return torch_engines(engine_names(choice), model, choice.device, choice.dtype,
                                     prefix_cache=self._prefix_cache, trace=self._trace, weights=choice.weights)
            return [torch_engine(model, choice.device, choice.dtype, prefix_cache=self._prefix_cache,
                                 trace=self._trace, weights=choice.weights)]
        except (ImportError, ModelLoadError, TokenizerError) as error:
            raise model_error(alias, error) from None
        finally:
            messages.progress("")


def engine_names(choice: ModelChoice) -> list[str]:
    """The names of the engines of one model."""
    return [f"{choice.engine} {number + 1}" if choice.count > 1 else choice.engine for number in range(choice.count)]


def target_of_engines(choice: ModelChoice, engines: dict[str, Engine]) -> Target:
    """What passes may know of the engines that a program is about to run on."""
    return Target({alias: target_of_engine(engine) for alias, engine in engines.items()}, choice.engine)


def target_of_engine(engine: Engine) -> ModelTarget:
    """Engines need not say what their memory, their steps and the costs of these are."""
    return ModelTarget(engine.tokenizer, engine.context_length, getattr(engine, "kv_slots", None),
                       getattr(engine, "max_batch", None), getattr(engine, "max_step_tokens", None),
                       getattr(engine, "costs", None), len(getattr(engine, "members", (engine,))))
