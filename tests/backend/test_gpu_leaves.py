"""Norms and gated layers by Triton kernels, in the interpreter: what they compute, and what they leave alone."""

import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.backend.torch_engine.gpu_leaves import use_gpu_kernels
from semlang.kernels.triton.elementwise import GatedLayer, RmsNorm

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

COMMON = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 2,
          "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 0}


def random_model(name: str, dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    return auto.from_config(AutoConfig.for_model(name, **COMMON)).to(dtype).requires_grad_(False).train(False)


@pytest.mark.parametrize("name, norms, gates", [("llama", 5, 2), ("qwen3", 9, 2), ("gemma2", 0, 0)])
def test_logits_stay(name: str, norms: int, gates: int) -> None:
    """Gemma's norms add 1 to their weights and its gates are no silu, so they stay as they are."""
    model = random_model(name, torch.float32)
    ids = torch.tensor([[3, 50, 7, 96, 11]])
    with torch.inference_mode():
        expected = model(input_ids=ids, use_cache=False).logits
        assert use_gpu_kernels(model) == {"norm": norms, "gated": gates, "fused attention": 0}
        found = model(input_ids=ids, use_cache=False).logits
        assert not any(use_gpu_kernels(model).values()), "nothing is replaced twice"
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [16, 48, 1000])
def test_norms_of_rows_that_lie_apart(size: int) -> None:
    weight = torch.linspace(0.5, 2.0, size, dtype=torch.float16)
    x = torch.randn(2, 5, 3 * size, generator=torch.Generator().manual_seed(1)).half()[..., size : 2 * size]
    expected = x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
    found = RmsNorm(weight, 1e-6)(x)
    assert found.shape == x.shape and (found.float() - expected * weight.float()).abs().max() < 2e-2
    assert RmsNorm(weight, 1e-6)(x[:0]).shape == (0, 5, size)


def test_gates_with_biases_and_many_blocks() -> None:
    torch.manual_seed(2)
    gate, up, down = nn.Linear(16, 1500), nn.Linear(16, 1500), nn.Linear(1500, 16)
    x = torch.randn(3, 16)
    with torch.inference_mode():
        expected = down(nn.functional.silu(gate(x)) * up(x))
        assert (GatedLayer(gate, up, down)(x) - expected).abs().max() < 1e-5


def test_a_module_that_computes_something_else_stays() -> None:
    class Shifted(nn.Module):
        eps = 1e-6

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(16))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.weight

    model = nn.Sequential(Shifted())
    assert use_gpu_kernels(model) == {"norm": 0, "gated": 0, "fused attention": 0}
