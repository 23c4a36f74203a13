"""The table of measured tiles: what it says holds for its device only, and everything in it can be used."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.kernels.triton.tiles import CANDIDATES, Tiles, tiles_for
from semlang.kernels.triton.tuned import entry, measured, read_table, tiles_on


def test_what_was_measured_is_taken() -> None:
    table = {"A GPU": {entry(128, 128, "bfloat16"): {"large_rows": 128, "warps": 8, "per_core": 1}}}
    assert measured(table, "A GPU", 128, 128, "bfloat16") == Tiles(large_rows=128, warps=8, per_core=1)
    assert measured(table, "A GPU", 64, 64, "bfloat16") is None
    assert measured(table, "another", 128, 128, "bfloat16") is None


def test_without_a_measurement_the_rule_decides() -> None:
    assert tiles_on(torch.device("cpu"), 128, 128, "bfloat16") == tiles_for(128, 128, "bfloat16")
    assert tiles_on(torch.device("cpu"), 128, 128, "bfloat16", one=True) == Tiles(one=True)


def test_the_table_holds_candidates() -> None:
    for layers in read_table().values():
        for name, fields in layers.items():
            assert Tiles(**fields) in CANDIDATES and len(name.split("/")) == 3
