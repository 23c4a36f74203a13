"""Weights in 8 bits: logits are those of a model whose weights were rounded, and near those of the model as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.torch_engine import runner as runner_module
from semlang.backend.torch_engine.engine import torch_engine
from semlang.backend.torch_engine.errors import ModelLoadError
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.native_parts import is_linear
from semlang.backend.torch_engine.plain_logits import plain_logits
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.kernels.cpu.int8 import quantize
from semlang.kernels.cpu.library import Unavailable, find_compiler
from tiny_models import poison, save_tiny
from torch import nn

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
WHOLE = ("llama", "qwen2", "gemma2", "phi3", "gpt2", "opt", "gpt_neox", "cohere")
LEAVES = ("mixtral", "apertus", "deepseek_v3")
"""Those whose modules are replaced one by one."""
PREFIX, BRANCH = 21, 4
IDS = np.random.default_rng(0).integers(0, 97, PREFIX + 2 * BRANCH)
BOUNDS = {"float32": 0.04, "bfloat16": 0.06}
"""Relative distance of logits from those of float32 weights; models have random weights and three layers."""


def logits(runner: TorchRunner) -> NDArray[np.float32]:
    """Of two branches on one prefix, in slots out of order, the rest of them NaN."""
    runner.allocate(len(IDS) + 7)
    poison(runner)
    slots = np.arange(len(IDS))[::-1].copy()
    root = KVRun(1, slots[:PREFIX], 0)
    runner.run(StepBatch((), (Segment(IDS[:PREFIX], root.slots, 0, (), False),)))
    ends = [slice(PREFIX + BRANCH * i, PREFIX + BRANCH * (i + 1)) for i in range(2)]
    return runner.run(StepBatch((root,), [Segment(IDS[end], slots[end], PREFIX, (0,), True) for end in ends]))


def expected(model: Any) -> NDArray[np.float32]:
    """The same of a model by itself."""
    return np.stack([plain_logits(model, np.delete(IDS, slice(*other))) for other in ((25, 29), (21, 25))])


def rounded(model: Any, whole: bool) -> Any:
    """`model` with the weights of its linear layers as 8 bits have them; an embedding that shares them stays."""
    for module in model.modules():
        if is_linear(module) if whole else type(module) is nn.Linear:
            flip = not isinstance(module, nn.Linear)
            weight = module.weight.detach().T if flip else module.weight.detach()
            numbers, scale = quantize(weight)
            weight = numbers.float() * scale[:, None]
            module.weight = nn.Parameter(weight.T.contiguous() if flip else weight)
    return model


def distance(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@needs_compiler
@pytest.mark.parametrize("name", [*WHOLE, *LEAVES])
def test_logits(name: str, tmp_path: Path) -> None:
    save_tiny(name, tmp_path)
    whole = name in WHOLE
    exact = expected(rounded(load_model(str(tmp_path), dtype="float32"), whole))
    original = expected(load_model(str(tmp_path), dtype="float32"))
    for dtype, bound in BOUNDS.items():
        runner = TorchRunner(load_model(str(tmp_path), dtype=dtype), weights="int8")
        assert runner.is_native == whole and f"int8 weights, {dtype} on cpu" in runner.kernels
        found = logits(runner)
        assert 1e-4 < distance(found, original) < bound
        if dtype == "float32":
            assert distance(found, exact) < 1e-4


@needs_compiler
def test_engines_may_share_them_but_not_have_others(tmp_path: Path) -> None:
    for name in ("llama", "mixtral"):
        save_tiny(name, tmp_path)
        for kept, others in (("int8", None), (None, "int8")):
            model = load_model(str(tmp_path), dtype="float32")
            first = logits(TorchRunner(model, weights=kept))
            if name == "llama":
                assert np.array_equal(first, logits(TorchRunner(model, weights=kept)))
            with pytest.raises(ModelLoadError, match="kept otherwise by another engine"):
                TorchRunner(model, weights=others)


@needs_compiler
def test_the_engine_names_them(tmp_path: Path) -> None:
    engine = torch_engine(kv_slots=64, weights="int8", self_check=False)
    assert "int8 weights" in engine.stats().kernels


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny("llama", tmp_path)
    with pytest.raises(ModelLoadError, match="as they are or as int8, not as `int4`"):
        TorchRunner(load_model(str(tmp_path), dtype="float32"), weights="int4")
    with pytest.raises(ModelLoadError, match="int8 weights are not possible: the compiled kernels are off"):
        TorchRunner(load_model(str(tmp_path), dtype="float32"), weights="int8", compiled=False)
    with pytest.raises(ModelLoadError, match="the kernels do not compute in float16"):
        TorchRunner(load_model(str(tmp_path), dtype="float16"), weights="int8")
    monkeypatch.setattr(runner_module, "load_kernels", lambda: Unavailable("there is no C++ compiler; install g++"))
    with pytest.raises(ModelLoadError, match="there is no C\\+\\+ compiler; install g\\+\\+; leave the weights"):
        TorchRunner(load_model(str(tmp_path), dtype="float32"), weights="int8")
    model = load_model(str(tmp_path), dtype="float32")
    runner = TorchRunner(model, compiled=False)
    runner.device = torch.device("cuda")
    runner._weights = runner_module.weights_kind("int8")
    with pytest.raises(ModelLoadError, match="this is cuda; leave the weights as they are"):
        runner._choose_kernels(None)
