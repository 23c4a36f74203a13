"""Which models a program needs, and what each of them is: flags, environment, configuration, source, in this order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from ..ir.core import Module, Op, Root, Table, Word, walk
from ..ir.diagnostics import InputError
from ..ir.target import ModelTarget, Target, TokenizerError
from . import configuration
from .options import DTYPES, ENGINES, WEIGHTS, engine_name

DEFAULT = ""
"""The alias of the default model."""
MODEL = "E1106"


@dataclass(frozen=True)
class ModelChoice:
    """An engine, a device, and the models of a program by alias; a model None is the embedded one.

    `count`: engines of each model. `dtype`: what the torch engine computes in; `weights`: how those
    of linear layers are kept, None as they are stored.
    """

    engine: str
    device: str
    models: dict[str, str | None]
    simulation: configuration.Simulation = configuration.DEFAULT_SIMULATION
    count: int = 1
    dtype: str = DTYPES[0]
    weights: str | None = None

    @property
    def arithmetic(self) -> str:
        """The data type, and how weights are kept if not as stored: what a step costs depends on both."""
        return self.dtype if self.weights is None else f"{self.dtype}, {self.weights} weights"

    @property
    def is_embedded(self) -> bool:
        """Whether texts come from the embedded model."""
        return self.engine == "torch" and None in self.models.values()


def choose_models(module: Module, declared: Mapping[str, str], arguments: argparse.Namespace,
                  source: str) -> ModelChoice:
    """The models that `module` needs, under the flags of `options.add_models`.

    `declared` are the aliases that the source declares and what it names for them; `source` is its path.
    Raises InputError for a wrong `--model`, `--config` or configuration.
    """
    settings = configuration.find(source, arguments.config)
    flags = read_flags(arguments.model)
    for alias in flags:
        if alias != DEFAULT and alias not in declared:
            close = get_close_matches(alias, declared, 1)
            raise InputError.of(MODEL, f"the program declares no model `{alias}`",
                                fix=f"did you mean `{close[0]}`?" if close else f"declare it: model {alias} = \"…\"")
    engine = arguments.engine or engine_name(settings.engine or ENGINES[0])
    bound = {**settings.models, **flags}
    bound[DEFAULT] = flags.get(DEFAULT) or os.environ.get("SEMC_MODEL") or settings.model or ""
    models: dict[str, str | None] = {}
    for alias in sorted(models_in_use(module)):
        # The other engines compute without a model: what only the source names need not be there.
        named = declared.get(alias) if engine == "torch" else None
        models[alias] = bound.get(alias) or named
    engine, _, count = engine.partition(":")
    simulation = replace(settings.simulate, engines=int(count)) if count else settings.simulate
    number = simulation.engines if engine == "simulate" else int(count or 1)
    return ModelChoice(engine, arguments.device or settings.device or "cpu", models, simulation, number,
                       arguments.dtype or settings.dtype or DTYPES[0], kept_weights(arguments, settings))


def kept_weights(arguments: argparse.Namespace, settings: configuration.Configuration) -> str | None:
    """How weights are kept: None as they are stored."""
    named = arguments.weights or settings.weights or WEIGHTS[0]
    return None if named == WEIGHTS[0] else named


def declared_models(module: Module) -> dict[str, str]:
    """The model aliases that a module declares and what it names for them."""
    return {op.symbol: str(op.attributes["identifier"]) for op in module.ops if op.name == "sem.model"}


def read_flags(values: list[str]) -> dict[str, str]:
    """The values of `--model` by alias. A value `name=rest` binds an alias unless a directory is called so."""
    models: dict[str, str] = {}
    for value in values:
        alias, separator, model = value.partition("=")
        if not separator or not alias.isidentifier() or os.path.isdir(value):
            alias, model = DEFAULT, value
        if not model:
            raise InputError.of(MODEL, f"`--model {value}` names no model")
        if alias in models:
            which = f"`{alias}`" if alias else "the default model"
            raise InputError.of(MODEL, f"`--model` is given twice for {which}")
        models[alias] = model
    return models


def models_in_use(module: Module) -> set[str]:
    """Aliases of the models that a module generates with or counts tokens by."""
    return {alias for top in module.ops for op in walk([top]) for alias in _models_of(op, top)}


def _models_of(op: Op, top: Op) -> list[str]:
    """The aliases that one operation inside `top` names; the default where it begins a prompt without naming one."""
    if op.name == "prompt.start":
        return [str(op.attributes.get("model") or top.attributes.get("model") or DEFAULT)]
    if op.name == "engine.fill" and isinstance(op.args[0], Root):
        return [str(op.attributes.get("model") or DEFAULT)]
    if op.name == "flow.pure" and op.attributes.get("unit") == Word("tokens"):
        return [DEFAULT]
    options = op.attributes.get("with")
    named = options.get("model") if isinstance(options, Table) else None
    return [named.name if isinstance(named, Word) else str(named)] if named is not None else []


def target_of(choice: ModelChoice) -> Target:
    """What passes may know: the tokenizer and context length of each model, and what was measured. Loads no weights.

    Raises InputError where a model cannot be had.
    """
    from ..backend.embedded import embedded_tokenizer_directory
    from ..backend.reference import read_context_length
    from ..backend.tokenizer import load_tokenizer
    from ..backend.torch_engine.errors import ModelLoadError
    from ..backend.torch_engine.model_directory import model_directory
    from .profiles import stored_profile

    targets: dict[str, ModelTarget] = {}
    for alias, model in choice.models.items():
        try:
            directory = embedded_tokenizer_directory() if model is None else model_directory(model)
            found = targets[alias] = ModelTarget(load_tokenizer(directory), read_context_length(directory))
        except (ModelLoadError, TokenizerError) as error:
            raise model_error(alias, error) from None
        found.engines = choice.count
        if choice.engine == "simulate":
            from .simulation import device

            simulated = device(choice.simulation.costs)
            found.kv_slots, found.costs = simulated.kv_slots, simulated.costs
            found.max_batch, found.max_step_tokens = simulated.costs.max_batch, simulated.costs.max_step_tokens
            continue
        profile = stored_profile(choice.engine, model, choice.device, choice.arithmetic)
        if profile is not None:
            found.kv_slots, found.costs = profile.kv_slots, profile.costs
            found.max_batch, found.max_step_tokens = profile.costs.max_batch, profile.costs.max_step_tokens
    return Target(targets, choice.engine)


def model_error(alias: str, error: Exception) -> InputError:
    """The error for a model that cannot be had."""
    if isinstance(error, ImportError):
        return InputError.of(MODEL, f"the torch engine needs a package that is not installed: {error.name}",
                             fix="pip install 'semlang[torch]'")
    return InputError.of(MODEL, str(error), fix=f"name another with --model {alias}=DIR" if alias else None)
