"""What the kernels need of a GPU, found without one: they are compiled for it and their code is looked at."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from . import element_kernels, elementwise, kernels, linear_kernels
from .attention import attend_constants, merge_constants
from .linear import linear_constants
from .tiles import Tiles

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""Shared memory that a program may have, by compute capability."""
REGISTERS = 65536
TYPES = {"bfloat16": "*bf16", "float16": "*fp16", "float32": "*fp32"}

INTEGERS = ("query_row", "query_head", "key_head", "key_slot", "value_head", "value_slot")


@dataclass(frozen=True)
class Resources:
    """Of one compiled kernel: registers of a thread; loads and stores of spilled ones; bytes of shared memory;
    instructions in its PTX: products on tensor cores (`wgmma` for whole warp groups) and asynchronous copies."""

    registers: int
    spills: int
    shared: int
    mma: int
    wgmma: int
    async_copies: int
    capability: int
    warps: int

    @property
    def programs_per_core(self) -> int:
        """Programs that a multiprocessor holds at once."""
        by_registers = REGISTERS // (self.registers * 32 * self.warps)
        return min(by_registers, SHARED_BYTES[self.capability] // max(1, self.shared))


def attend_resources(capability: int, tiles: Tiles, *, group: int, key_size: int, value_size: int, dtype: str,
                     kv_heads: int = 8, capped: bool = False, windowed: bool = False) -> Resources:
    """Compile `kernels.attend` for compute capability 80 or 90."""
    number = TYPES[dtype]
    signature = {"query": number, "key_pool": number, "value_pool": number, "plan": "*i32", "partials": "*fp32",
                 "sums": "*fp32", "score_scale": "fp32", "soft_cap": "fp32", "window": "i32",
                 **dict.fromkeys(INTEGERS, "i32")}
    return _compile(kernels.attend, signature, attend_constants(
        tiles, kv_heads=kv_heads, group=group, key_size=key_size, value_size=value_size, capped=capped,
        windowed=windowed), capability, tiles.warps, unaligned=("score_scale", "soft_cap", "window"))


def merge_resources(capability: int, *, heads: int, value_size: int, dtype: str) -> Resources:
    """Compile `kernels.merge` for compute capability 80 or 90."""
    signature = {"output": TYPES[dtype], "plan": "*i32", "partials": "*fp32", "sums": "*fp32", "sinks": "*fp32",
                 "output_row": "i32", "output_head": "i32"}
    return _compile(kernels.merge, signature, merge_constants(heads, value_size, False), capability, 4)


def norm_resources(capability: int, *, size: int, dtype: str) -> Resources:
    """Compile `element_kernels.rms_norm` for compute capability 80 or 90."""
    number = TYPES[dtype]
    signature = {"x": number, "weight": number, "y": number, "x_row": "i32", "y_row": "i32", "epsilon": "fp32"}
    return _compile(element_kernels.rms_norm, signature, elementwise.norm_constants(size), capability,
                    elementwise.norm_warps(size), unaligned=("epsilon",))


def gate_resources(capability: int, *, size: int, dtype: str) -> Resources:
    """Compile `element_kernels.gate` for compute capability 80 or 90."""
    return _compile(element_kernels.gate, {"x": TYPES[dtype], "y": TYPES[dtype]},
                    {"SIZE": size, "BLOCK": elementwise.GATE_BLOCK}, capability, 4)


def rotate_resources(capability: int, *, heads: int, kv_heads: int, size: int, dtype: str) -> Resources:
    """Compile `element_kernels.rotate` for compute capability 80 or 90."""
    signature = {**dict.fromkeys(("query", "key", "cosines", "sines"), TYPES[dtype]),
                 **dict.fromkeys(("query_row", "query_head", "key_row", "key_head"), "i32")}
    return _compile(element_kernels.rotate, signature, elementwise.rotate_constants(heads, kv_heads, size), capability,
                    4)


def linear_resources(capability: int, *, inputs: int, outputs: int, dtype: str, with_bias: bool = False) -> Resources:
    """Compile `linear_kernels.linear` for compute capability 80 or 90."""
    number = TYPES[dtype]
    signature = {"x": number, "weight": number, "bias": number, "y": number, "rows": "i32"}
    return _compile(linear_kernels.linear, signature,
                    linear_constants(inputs, outputs, dtype == "float32", with_bias), capability, 4,
                    unaligned=("rows",))


def _compile(kernel: Any, signature: dict[str, str], constants: dict[str, Any], capability: int, warps: int,
             unaligned: tuple[str, ...] = ()) -> Resources:
    # As at a launch, pointers and strides are multiples of 16.
    aligned: dict[tuple[int, ...], Any] = {
        (i,): [["tt.divisibility", 16]] for i, name in enumerate(signature) if name not in unaligned}
    source = ASTSource(fn=kernel, signature={**signature, **dict.fromkeys(constants, "constexpr")},
                       constexprs=constants, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32),
                              options={"num_warps": warps, "enable_fp_fusion": True})
    ptx = str(compiled.asm["ptx"])
    registers, spills = _usage(compiled.asm["cubin"])
    return Resources(registers, spills, int(compiled.metadata.shared), ptx.count("mma.sync"),
                     ptx.count("wgmma.mma_async"), ptx.count("cp.async.c"), capability, warps)


def _usage(binary: bytes) -> tuple[int, int]:
    """Registers of a thread, and loads and stores of spilled ones in the code for the GPU."""
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        usage, code = (
            subprocess.run([str(tools / tool), *options, file.name], capture_output=True, text=True, check=True).stdout
            for tool, options in (("cuobjdump", ["-res-usage"]), ("nvdisasm", ["-c"])))
    found = re.search(r"REG:(\d+)", usage)
    if found is None or "EXIT" not in code:
        raise RuntimeError(f"the code for the GPU does not tell its registers: {usage}")
    return int(found[1]), len(re.findall(r"\b(?:STL|LDL)\b", code))
