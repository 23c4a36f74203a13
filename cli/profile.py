"""`semc profile`: measures what the steps of an engine cost, and keeps it for later commands."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import InputError
from . import configuration, messages
from .command import Command
from .models import DEFAULT, MODEL, ModelChoice, kept_weights, read_flags
from .options import DTYPES, ENGINES, UNWRITABLE, USAGE, add_models, check_writable, engine_name

if TYPE_CHECKING:
    from ..backend.cost_fit import Fit
    from ..backend.profile_store import Profile


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    add_models(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-o", dest="output", metavar="FILE.json", help="write the profile here instead of to the cache")


def execute(arguments: argparse.Namespace) -> int:
    """Measure, store, print."""
    from ..backend.profile_store import Profile, save_profile
    from ..backend.profiling import profile_engine
    from ..backend.step_engine import StepEngine
    from .engines import EnginePool
    from .profiles import key_of

    choice = chosen(arguments)
    check_store(arguments.output)
    with EnginePool(prefix_cache=False, trace=True) as pool:
        engine = pool.engines(choice)[DEFAULT]
        assert isinstance(engine, StepEngine)
        messages.progress("measuring …")
        fit = profile_engine(engine)
        messages.progress("")
        residuals = {"median": fit.median_error, "worst": fit.worst_error, "loads": load_errors(fit)}
        key = key_of(choice.engine, choice.models[DEFAULT], choice.device, choice.arithmetic)
        profile = Profile(key, fit.model, engine.kv_slots, residuals)
    try:
        path = save_profile(profile, Path(arguments.output) if arguments.output else None)
    except OSError as error:
        raise InputError.of(UNWRITABLE, f"cannot write the profile: {error.strerror} ({error.filename})") from None
    print(json.dumps(to_json(profile, path), indent=2) if arguments.json else text(profile, path))
    return 0


def check_store(output: str | None) -> None:
    """InputError unless the profile can be stored: better now than after measuring."""
    from ..backend.profile_store import profiles_directory

    directory = profiles_directory() if output is None else None
    if directory is None:
        check_writable(output)
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError.of(UNWRITABLE, f"cannot write to {directory}: {error.strerror}",
                            fix="-o FILE.json, or another folder in SEMC_PROFILES") from None
    check_writable(str(directory / ".profile"))


def chosen(arguments: argparse.Namespace) -> ModelChoice:
    """The one model to measure, by the flags, the environment and the configuration."""
    settings = configuration.find("profile", arguments.config)
    flags = read_flags(arguments.model)
    for alias in flags:
        if alias != DEFAULT:
            raise InputError.of(MODEL, f"`semc profile` measures one model, and `{alias}` is an alias of a program",
                                fix="--model DIR|ID")
    engine, _, count = (arguments.engine or engine_name(settings.engine or ENGINES[0])).partition(":")
    if count:
        raise InputError.of(USAGE, "`semc profile` measures one engine", fix=f"--engine {engine}")
    if engine == "simulate":
        raise InputError.of(USAGE, "there is nothing to measure: what the steps of simulated engines cost is given",
                            fix="set `costs` in the table [simulate] of the configuration")
    model = flags.get(DEFAULT) or os.environ.get("SEMC_MODEL") or settings.model
    return ModelChoice(engine, arguments.device or settings.device or "cpu", {DEFAULT: model or None},
                       dtype=arguments.dtype or settings.dtype or DTYPES[0],
                       weights=kept_weights(arguments, settings))


def load_errors(fit: Fit) -> list[dict[str, Any]]:
    """For each load: its kinds of steps, and the median and worst relative error of the fit on them."""
    return [{"load": load, "steps": len(errors), "median": median(map(abs, errors)), "worst": max(errors, key=abs)}
            for load, errors in fit.by_load().items()]


def to_json(profile: Profile, path: Path | None) -> dict[str, Any]:
    """The object of `--json`."""
    from ..backend.profile_store import profile_text

    stored: dict[str, Any] = json.loads(profile_text(profile))
    return {**stored, "path": str(path) if path is not None else None}


UNITS = {
    "step": "a step", "batch": "more, for a step of several tokens", "prefill_token": "a prompt token",
    "decode_row": "a row that decodes", "kv_token": "a KV token that rows read",
    "attention": "a prompt token attending to a KV token", "call": "a call, beside its steps",
}


def text(profile: Profile, path: Path | None) -> str:
    """The parameters, the errors by load, and where the profile is."""
    costs, residuals = profile.costs, profile.residuals
    lines = [f"{profile.key.engine} engine, model {profile.key.model}, {profile.key.device}", ""]
    lines += [f"  {1e6 * getattr(costs, name):12.4f} µs  {what}" for name, what in UNITS.items()]
    lines += [f"  at most {costs.max_batch} rows and {costs.max_step_tokens} tokens in a step, "
              f"{profile.kv_slots} KV tokens", "", "  error of predicted step times       median    worst"]
    lines += [f"  {row['load']:<36}{row['median']:6.1%}  {row['worst']:+7.1%}" for row in residuals["loads"]]
    lines += [f"  {'all':<36}{residuals['median']:6.1%}  {residuals['worst']:7.1%}", "",
              f"stored in {path}" if path is not None else "not stored: SEMC_PROFILES is `none`"]
    return "\n".join(lines)


COMMAND = Command("profile", "Measure what the steps of an engine cost; run, compile and explain use it.", configure,
                  execute)
