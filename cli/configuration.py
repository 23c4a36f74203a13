"""`semc.toml`: models, engine and device for the programs of a folder.

The file stands beside the program, or `--config` names it:

    engine = "torch"                # torch, reference or simulate
    device = "cpu"                  # cpu or cuda
    dtype = "auto"                  # auto, bfloat16, float32 or float16: what the torch engine computes in
    weights = "stored"              # stored or int8: how the torch engine keeps those of linear layers
    model = "Qwen/Qwen3-0.6B"       # the default model: a directory or an identifier

    [models]                        # what the aliases in `model small = "…"` stand for
    small = "models/small"          # a directory is relative to this file

    [simulate]                      # the simulated engine
    engines = 4                     # how many
    costs = "a100-13b"              # what its steps cost: embedded (default), a100-7b, a100-13b, h100-8b, …
    host_seconds = 0.2              # what each host call takes; without it, what it takes on this machine

What the command line says comes first, then `SEMC_MODEL`, then this file, then what the program says.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ..ir.diagnostics import InputError
from .options import DTYPES, WEIGHTS

NAME = "semc.toml"
CONFIGURATION = "E1103"
KEYS = ("device", "dtype", "engine", "model", "models", "simulate", "weights")


@dataclass(frozen=True)
class Simulation:
    """What the table `[simulate]` says."""

    engines: int = 1
    costs: str = "embedded"
    host_seconds: float | None = None


DEFAULT_SIMULATION = Simulation()



@dataclass(frozen=True)
class Configuration:
    """What a configuration file says; None and empty where it says nothing."""

    engine: str | None = None
    device: str | None = None
    model: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    simulate: Simulation = DEFAULT_SIMULATION
    dtype: str | None = None
    weights: str | None = None


def find(program: str, named: str | None) -> Configuration:
    """The configuration in the file `named`, else in `semc.toml` beside `program`, else an empty one.

    Raises InputError for a file that is missing (if named), is no TOML, or holds unknown keys.
    """
    if named is not None:
        return read(Path(named))
    beside = Path(program).parent / NAME
    return read(beside) if program != "-" and os.path.isfile(beside) else Configuration()


def read(path: Path) -> Configuration:
    """The configuration in the file at `path`."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError.of(CONFIGURATION, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError.of(CONFIGURATION, f"{path} is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError.of(CONFIGURATION, f"{path} is not valid TOML: {error}") from None
    for key in table:
        if key not in KEYS:
            raise InputError.of(CONFIGURATION, f"{path}: unknown key `{key}`", fix=f"known keys: {', '.join(KEYS)}")
    models = table.get("models", {})
    if not isinstance(models, dict):
        raise InputError.of(CONFIGURATION, f"{path}: `models` must be a table of aliases")
    for key, value in [*table.items(), *models.items()]:
        if key not in ("models", "simulate") and not isinstance(value, str):
            raise InputError.of(CONFIGURATION, f"{path}: `{key}` must be text")
    for key, known in ("dtype", DTYPES), ("weights", WEIGHTS):
        if table.get(key, known[0]) not in known:
            raise InputError.of(CONFIGURATION, f"{path}: unknown {key} `{table[key]}`",
                                fix=f"known ones: {', '.join(known)}")
    model = table.get("model")
    return Configuration(table.get("engine"), table.get("device"), model and beside(path, model),
                         {alias: beside(path, model) for alias, model in models.items()},
                         simulation(path, table.get("simulate", {})), table.get("dtype"), table.get("weights"))


def simulation(path: Path, table: object) -> Simulation:
    """The table `[simulate]`. InputError for what is not in it."""
    def wrong(message: str) -> InputError:
        return InputError.of(CONFIGURATION, f"{path}: `simulate` {message}",
                             fix="known keys: engines (at least 1), costs, host_seconds (at least 0)")

    if not isinstance(table, dict):
        raise wrong("must be a table")
    for key, value in table.items():
        match key, value:
            case "engines", int() if value >= 1 and not isinstance(value, bool):
                pass
            case "costs", str():
                pass
            case "host_seconds", int() | float() if value >= 0 and not isinstance(value, bool):
                pass
            case _:
                raise wrong(f"has the wrong entry `{key} = {value}`")
    return Simulation(**table)


def beside(path: Path, model: str) -> str:
    """A model directory relative to the configuration file, or the identifier as it is."""
    directory = str(path.parent / os.path.expanduser(model))
    return directory if os.path.isdir(directory) else model
