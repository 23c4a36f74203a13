"""The C++ kernels under the address and undefined-behaviour sanitizers, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from semlang.kernels.cpu.library import find_compiler

HERE = Path(__file__).parent
FLAGS = ("-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SCRIPT = """
import sys
from pathlib import Path
import torch
from semlang.kernels.cpu.library import Kernels, build_kernels
from semlang.kernels.cpu.decoder import in_8_bits
from semlang.kernels.cpu.decoder_structures import WeightKind
from semlang.kernels.cpu.elementwise import GatedLayer, RmsNorm
from semlang.kernels.cpu.linear import PackedLinear
from decoders import logits, random_decoder
from test_cpu_kernels import error
from trees import TREES, step

kernels = build_kernels({flags!r}, Path({folder!r}))
assert isinstance(kernels, Kernels), kernels
torch.set_num_threads(2)
for dtype in (torch.float32, torch.bfloat16):
    for name, tree in TREES.items():
        capped = {{"soft_cap": 1.5, "sinks": torch.linspace(-2.0, 3.0, 6)}}
        for options in ({{}}, {{"window": 16}}, capped, {{"parts": 2}}, {{"aligned": True}},
                        {{"aligned": True, "window": 16}}):
            assert error(kernels, step(*tree, "pages"), dtype=dtype, **options) < 2e-2
    for heads, kv_heads, dim in ((14, 2, 80), (64, 1, 256), (3, 1, 16)):
        assert error(kernels, step(*TREES["mixed"], "scattered"), heads, kv_heads, dim, dtype) < 2e-2
    for inputs, outputs in ((33, 1), (1, 31), (130, 33), (96, 64)):
        linear = torch.nn.Linear(inputs, outputs).to(dtype)
        for rows in (1, 11, 13, 100):
            for kind in (None, WeightKind.int8):
                PackedLinear(linear.weight, linear.bias, kernels, kind)(torch.randn(rows, inputs).to(dtype))
    RmsNorm(torch.ones(48, dtype=dtype), 1e-5, kernels)(torch.randn(3, 48).to(dtype))
    parts = [torch.nn.Linear(a, b).to(dtype) for a, b in ((40, 48), (40, 48), (48, 40))]
    GatedLayer(*parts, kernels)(torch.randn(3, 40).to(dtype))
    trees = [TREES["mixed"], TREES["three levels, ragged"], ([(-1, 300), (0, 3)], [(0, 290), (1, 1)])]
    for threads, size, inner, plain in ((1, 16, 50, False), (2, 48, 64, True), (5, 16, 50, True), (2, 48, 64, False)):
        torch.set_num_threads(threads)
        model = random_decoder(dtype, size=size, inner=inner, plain=plain)
        for tree in trees:
            assert logits(kernels, model, step(*tree, "pages")).shape[1] == 70
    logits(kernels, in_8_bits(model), step(*trees[0], "pages"))
torch.set_num_threads(2)
print("clean", flush=True)
linear = torch.nn.Linear(64, 64)
packed = PackedLinear(linear.weight, linear.bias, kernels)
packed.out_features = 32
packed(torch.randn(4, 64))  # the kernel writes 64 outputs where there is room for 32
print("an overflow went unnoticed")
"""


def runtime_library(name: str) -> str | None:
    """The path of a sanitizer's runtime; None where the compiler has none."""
    compiler = find_compiler()
    if compiler is None or "clang" in Path(compiler).name:
        return None
    path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return found if os.path.isabs(found := path.stdout.strip()) else None


def test_the_kernels_are_clean_and_an_overflow_is_seen(tmp_path: Path) -> None:
    address = runtime_library("libasan.so")
    if address is None:
        pytest.skip("there is no g++ with libasan")
    environment = {**os.environ, "LD_PRELOAD": address, "ASAN_OPTIONS": "detect_leaks=0", "OMP_NUM_THREADS": "2",
                   "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent / "law")]), "PYTHONSAFEPATH": "1",
                   "OMP_WAIT_POLICY": "PASSIVE"}
    script = SCRIPT.format(flags=FLAGS, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment,
                          timeout=600, check=False)
    assert done.stdout == "clean\n", done.stderr[-3000:]
    assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr, done.stderr[-3000:]
