"""The Triton kernels compiled for GPUs that need not be there: nothing spills, and the fast instructions are in use."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ
SCRIPT = """
import json, sys
from dataclasses import asdict
from semlang.kernels.triton.resources import attend_resources, merge_resources
from semlang.kernels.triton.tiles import CANDIDATES, tiles_for

capability, size, group, dtype, masked, one, *number = json.loads(sys.argv[1])
tiles = CANDIDATES[number[0]] if number else tiles_for(size, size, dtype, capability, one=one)
found = [attend_resources(capability, tiles, group=group, key_size=size, value_size=size, dtype=dtype, capped=masked,
                          windowed=masked), merge_resources(capability, heads=32, value_size=size, dtype=dtype)]
print(json.dumps([{**asdict(one), "programs": one.programs_per_core} for one in found]))
"""
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
HALF = "bfloat16"
QUICK = [(90, 128, 4, HALF, False, False), (80, 128, 4, HALF, False, False), (90, 256, 2, HALF, False, False)]
SLOW = [
    *((capability, size, group, HALF, False, False) for capability in (80, 90)
      for size, group in ((64, 7), (64, 3), (80, 1), (96, 1), (128, 1), (128, 5), (128, 8), (256, 4))),
    *((capability, 128, 4, "float16", True, False) for capability in (80, 90)),
    *((capability, 128, 4, HALF, False, True) for capability in (80, 90)),
]


def compiled(*case: object) -> list[dict[str, int]]:
    """What `attend` and `merge` take, from a process without the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, json.dumps(case)], capture_output=True, text=True,
                          env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict[str, int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("capability, size, group, dtype, masked, one", [*QUICK, *(SLOW if NIGHTLY else [])])
def test_resources(capability: int, size: int, group: int, dtype: str, masked: bool, one: bool) -> None:
    attend, merge = compiled(capability, size, group, dtype, masked, one)
    for kernel in (attend, merge):
        assert kernel["registers"] <= 255 and kernel["spills"] == 0
        assert kernel["shared"] <= SHARED_BYTES[capability]
    assert attend["async_copies"] > 0
    assert attend["wgmma"] > 0 if capability == 90 else attend["mma"] > 0
    assert one or attend["mma"] > 0, "the small tile does not use tensor cores"
    assert attend["programs"] >= (1 if size > 128 else 2)


def test_norms_gates_and_rotations() -> None:
    """They stay in registers, and move whole lines."""
    script = """
import json
from dataclasses import asdict
from semlang.kernels.triton.resources import gate_resources, norm_resources, rotate_resources
half = "bfloat16"
print(json.dumps([asdict(one) for capability in (80, 90) for one in (
    norm_resources(capability, size=4096, dtype=half), gate_resources(capability, size=14336, dtype=half),
    rotate_resources(capability, heads=32, kv_heads=8, size=128, dtype=half))]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=600,
                          check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for kernel in json.loads(done.stdout):
        assert kernel["registers"] <= 128 and kernel["spills"] == 0


def test_linear_layers() -> None:
    script = """
import json
from dataclasses import asdict
from semlang.kernels.triton.resources import linear_resources
print(json.dumps([{**asdict(one), "programs": one.programs_per_core} for capability in (80, 90) for one in (
    linear_resources(capability, inputs=4096, outputs=6144, dtype="bfloat16"),
    linear_resources(capability, inputs=1000, outputs=97, dtype="bfloat16", with_bias=True),
    linear_resources(capability, inputs=4096, outputs=6144, dtype="float32"))]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=600,
                          check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for number, kernel in enumerate(json.loads(done.stdout)):
        assert kernel["registers"] <= 255 and kernel["spills"] == 0 and kernel["programs"] >= 2
        assert kernel["shared"] <= SHARED_BYTES[kernel["capability"]] and kernel["async_copies"] > 0
        if number % 3 < 2:
            assert kernel["wgmma" if kernel["capability"] == 90 else "mma"] > 0


@pytest.mark.parametrize("number", range(1, 5) if NIGHTLY else [3])
def test_candidates_for_tuning(number: int) -> None:
    attend, _ = compiled(90, 128, 4, HALF, False, False, number)
    assert attend["registers"] <= 255 and attend["spills"] == 0 and attend["shared"] <= SHARED_BYTES[90]
    assert attend["async_copies"] > 0 and attend["wgmma"] > 0 and attend["mma"] > 0


@pytest.mark.skipif(not NIGHTLY, reason="only in the nightly run")
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_float32(capability: int, size: int) -> None:
    """Exact products have no tensor cores; they must still fit."""
    attend, _ = compiled(capability, size, 4, "float32", False, False)
    assert attend["mma"] == attend["wgmma"] == 0 and attend["shared"] <= SHARED_BYTES[capability]
