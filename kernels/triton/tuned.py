"""The tiles for a device: those that were the fastest there when they were measured, else those of the rule.

`tuned.json` has, by name of the device, what `benchmarks/gpu/run.py --only tuning` found: for each size of head and
dtype (`128/128/bfloat16`) the fields of `Tiles` that differ from the defaults.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from .tiles import Tiles, tiles_for

TABLE = Path(__file__).with_name("tuned.json")

Table = dict[str, dict[str, dict[str, Any]]]


def tiles_on(device: torch.device, key_size: int, value_size: int, dtype: str, *, one: bool = False) -> Tiles:
    """The tiles for a layer on `device`. With `one`, those of the rule: no result may depend on what was measured."""
    if device.type != "cuda":  # Triton's interpreter
        return tiles_for(key_size, value_size, dtype, one=one)
    if not one:
        found = measured(read_table(), torch.cuda.get_device_name(device), key_size, value_size, dtype)
        if found is not None:
            return found
    major, minor = torch.cuda.get_device_capability(device)
    return tiles_for(key_size, value_size, dtype, 10 * major + minor, one=one)


def measured(table: Table, name: str, key_size: int, value_size: int, dtype: str) -> Tiles | None:
    """What the table says for a device; None where it says nothing."""
    fields = table.get(name, {}).get(entry(key_size, value_size, dtype))
    return None if fields is None else Tiles(**fields)


def entry(key_size: int, value_size: int, dtype: str) -> str:
    """The name of a layer in the table."""
    return f"{key_size}/{value_size}/{dtype}"


@lru_cache(maxsize=1)
def read_table() -> Table:
    """The table of this version."""
    table: Table = json.loads(TABLE.read_text(encoding="utf-8"))
    return table
