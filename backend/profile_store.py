"""Measured cost models on disk: one JSON file for each model, engine and device, in the user's cache directory."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..passes.cost_model import CostModel
from .embedded import cache_directory

VERSION = 1
ENVIRONMENT = "SEMC_PROFILES"
OFF = "none"


class ProfileError(ValueError):
    """A stored profile cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class ProfileKey:
    """What a profile is of. `model`: digest of configuration and tokenizer; `device`: processor and threads, or GPU,
    and the data type."""

    engine: str
    model: str
    device: str

    @property
    def file_name(self) -> str:
        """The name of the file that holds the profile."""
        digest = hashlib.sha256("\0".join((self.engine, self.model, self.device)).encode()).hexdigest()
        return f"{self.engine}-{digest[:16]}.json"


@dataclass(frozen=True)
class Profile:
    """A measured cost model; `kv_slots`: tokens that the engine's KV memory held; `residuals`: see `Fit`."""

    key: ProfileKey
    costs: CostModel
    kv_slots: int | None
    residuals: Mapping[str, Any]


def profile_key(engine: str, directory: Path, device: str, dtype: str = "auto") -> ProfileKey:
    """The key of the model in `directory` on `device` (`cpu` or `cuda`), in the data type asked for.

    Weights are not looked at: models of one configuration and one tokenizer are equally fast.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json"):
        path = directory / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    if engine == "reference":
        return ProfileKey(engine, digest.hexdigest()[:16], device_name("cpu"))
    return ProfileKey(engine, digest.hexdigest()[:16], f"{device_name(device)}, {dtype}")


def device_name(device: str) -> str:
    """What computes: the processor with its number of threads, or the first GPU."""
    if device == "cuda":
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
        return "cuda"
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    return f"{_processor()}, {threads} threads"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def profiles_directory() -> Path | None:
    """Where profiles are kept: `SEMC_PROFILES`, else `profiles` in the cache directory; None when turned off."""
    named = os.environ.get(ENVIRONMENT)
    if named == OFF:
        return None
    return Path(named) if named else cache_directory() / "profiles"


def profile_text(profile: Profile) -> str:
    """The JSON text of a profile."""
    return json.dumps({"version": VERSION, **asdict(profile.key), "kv_slots": profile.kv_slots,
                       "costs": asdict(profile.costs), "residuals": profile.residuals}, indent=2) + "\n"


def save_profile(profile: Profile, path: Path | None = None) -> Path | None:
    """Write a profile to `path`, or where `find_profile` finds it; the path, None when profiles are turned off.

    Raises OSError where that cannot be written.
    """
    if path is None:
        directory = profiles_directory()
        if directory is None:
            return None
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / profile.key.file_name
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not put aside
        path.write_text(profile_text(profile), encoding="utf-8")
        return path
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(profile_text(profile), encoding="utf-8")
    scratch.replace(path)  # a reader sees the old file or the new one, never half of it
    return path


def find_profile(key: ProfileKey) -> Profile | None:
    """The stored profile of `key`; None where there is none. Raises ProfileError for one that cannot be used."""
    directory = profiles_directory()
    if directory is None:
        return None
    path = directory / key.file_name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(_complaint(path, str(error))) from None
    return read_profile(text, key, path)


def read_profile(text: str, key: ProfileKey, path: Path) -> Profile:
    """The profile in `text`. Raises ProfileError."""
    try:
        data = json.loads(text)
        if data["version"] != VERSION:
            raise ProfileError(_complaint(path, f"it has version {data['version']}, this semc reads {VERSION}"))
        costs = _costs(data["costs"])
        slots = data["kv_slots"]
        if slots is not None and not (isinstance(slots, int) and slots > 0):
            raise ValueError("kv_slots is no number of tokens")
        return Profile(key, costs, slots, dict(data["residuals"]))
    except ProfileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProfileError(_complaint(path, f"{type(error).__name__}: {error}")) from None


def _costs(table: Mapping[str, Any]) -> CostModel:
    values: dict[str, Any] = {}
    for field in fields(CostModel):
        value = table[field.name]
        whole = field.name.startswith("max_")
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or value < whole:
            raise ValueError(f"{field.name} is {value!r}")
        values[field.name] = value
    return CostModel(**values)


def _complaint(path: Path, what: str) -> str:
    return f"the profile {path} cannot be used ({what}); measure again with `semc profile`, or delete it"
