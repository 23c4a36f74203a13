"""Queries, keys and values of one linear layer, rotated by one kernel in the interpreter, as by the model itself."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.plain_logits import plain_logits
from semlang.backend.torch_engine.runner import TorchRunner
from transformers import AutoConfig, AutoModelForCausalLM

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.backend.torch_engine.fused_attention import FusedAttention
from semlang.backend.torch_engine.gpu_leaves import use_gpu_kernels
from semlang.kernels.triton.elementwise import rotate

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

COMMON = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128,
          "pad_token_id": 0}
IDS = np.random.default_rng(0).integers(3, 97, 20)


def random_model(name: str, folder: Path, dtype: str = "float32", **options: Any) -> Any:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(name, **{**COMMON, **options}))
    for parameter in model.parameters():
        if parameter.dim() == 1:  # biases begin as 0, weights of norms as 1
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return load_model(str(folder), dtype=dtype)


def tree_logits(model: Any) -> np.ndarray[Any, Any]:
    """Logits of two branches below a prompt."""
    runner = TorchRunner(model, compiled=False)
    runner.allocate(40)
    slots = np.arange(40)[::-1].copy()
    run = KVRun(1, slots[:12], 0)
    runner.run(StepBatch((), (Segment(IDS[:12], run.slots, 0, (), False),)))
    return runner.run(StepBatch((run,), (Segment(IDS[12:15], slots[12:15], 12, (0,), True),
                                         Segment(IDS[15:], slots[15:20], 12, (0,), True))))


MODELS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True}, "qwen2": {}, "qwen3": {},
    "mistral": {"sliding_window": 6}, "smollm3": {"no_rope_layers": [1, 1]},
    "olmo2": {},
}


@pytest.mark.parametrize("name", MODELS)
def test_logits_stay(name: str, tmp_path: Path) -> None:
    model = random_model(name, tmp_path, **MODELS[name])
    expected, alone = tree_logits(model), plain_logits(model, IDS)
    assert use_gpu_kernels(model)["fused attention"] == 2
    assert sum(isinstance(module, FusedAttention) for module in model.modules()) == 2
    assert not any(name.endswith(("q_proj.weight", "k_proj.weight")) for name, _ in model.named_parameters())
    assert np.abs(tree_logits(model) - expected).max() < 1e-5
    assert np.abs(plain_logits(model, IDS) - alone).max() < 1e-5
    assert not any(use_gpu_kernels(model).values()), "nothing is replaced twice"


@pytest.mark.parametrize("name, options", [
    ("cohere", {}),  # pairs of numbers that stand beside each other
    ("gemma2", {"query_pre_attn_scalar": 16}),  # scores with a soft cap
    ("gpt_oss", {"num_local_experts": 2, "num_experts_per_tok": 1}),  # sinks
    ("glm4", {"partial_rotary_factor": 0.5}),  # a part of a head
])
def test_other_attention_stays(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = random_model(name, tmp_path, **options)
    assert use_gpu_kernels(model)["fused attention"] == 0


def test_a_layer_without_positions_stays(tmp_path: Path) -> None:
    model = random_model("smollm3", tmp_path, no_rope_layers=[1, 0])
    expected = tree_logits(model)
    assert use_gpu_kernels(model)["fused attention"] == 1
    assert np.abs(tree_logits(model) - expected).max() < 1e-5


@pytest.mark.parametrize("heads, kv_heads, size", [(9, 1, 16), (3, 3, 80), (17, 2, 6)])
def test_rotations(heads: int, kv_heads: int, size: int) -> None:
    """In place, on heads of rows that lie apart, with nothing touched between."""
    numbers = torch.randn(5, heads + 2 * kv_heads, size, generator=torch.Generator().manual_seed(1)).half()
    angles = 6 * torch.rand(5, size // 2, generator=torch.Generator().manual_seed(2)).repeat(1, 2)
    cosines, sines = angles.cos().half(), angles.sin().half()
    before = numbers.double()
    low, high = before.chunk(2, -1)
    turned = before * cosines.double()[:, None] + torch.cat([-high, low], -1) * sines.double()[:, None]
    rotate(numbers[:, :heads], numbers[:, heads : heads + kv_heads], cosines, sines)
    assert torch.equal(numbers[:, heads + kv_heads :].double(), before[:, heads + kv_heads :])
    assert (numbers[:, : heads + kv_heads].double() - turned[:, : heads + kv_heads]).abs().max() < 3e-3
    rotate(numbers[:0, :heads], numbers[:0, heads:], cosines[:0], sines[:0])
