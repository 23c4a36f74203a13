"""Tiny models of many architectures, each beside plain `transformers`, for tests."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from semlang.backend.torch_engine.cpu_pools import CpuPools
from semlang.backend.torch_engine.kv_pools import TorchPools
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.kernels.cpu.library import find_compiler
from transformers import AutoConfig, AutoModelForCausalLM

SLOTS = 400
COMMON = {
    "vocab_size": 97,
    "hidden_size": 96,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "num_experts": 4, "num_local_experts": 4, "moe_intermediate_size": 32}
LATENT = {
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 6,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 10, "max_window_layers": 1},
    "qwen3": {"head_dim": 16},
    "mistral": {"sliding_window": 9},
    "gemma2": {
        "head_dim": 16,
        "sliding_window": 8,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "query_pre_attn_scalar": 16,
    },
    "phi3": {"sliding_window": 12},
    "gpt2": {"n_inner": 64},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 96},
    "apertus": {},
    "arcee": {},
    "cohere": {"logit_scale": 0.3},
    "cohere2": {"logit_scale": 0.3, "sliding_window": 8},
    "deepseek_v3": {**EXPERTS, **LATENT},
    "exaone4": {"sliding_window": 8},
    "gemma": {"head_dim": 16},
    "gemma3_text": {
        "head_dim": 16,
        "sliding_window": 8,
        "query_pre_attn_scalar": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "glm4": {"head_dim": 16},
    "gpt_bigcode": {},
    "gpt_neox": {},
    "gpt_oss": {**EXPERTS, "head_dim": 16, "sliding_window": 8},
    "granite": {"logits_scaling": 3.0, "attention_multiplier": 0.3, "embedding_multiplier": 2.0},
    "granitemoe": EXPERTS,
    "mixtral": EXPERTS,
    "olmo2": {},
    "olmo3": {"sliding_window": 8},
    "phi": {},
    "qwen2_moe": EXPERTS,
    "qwen3_moe": {**EXPERTS, "head_dim": 16},
    "smollm3": {},
    "starcoder2": {"sliding_window": 9},
}


@dataclass
class Pair:
    """One model twice: ours, its pool full of NaN, and by itself."""

    runner: TorchRunner
    plain: Any

    def logits(self, *parts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of plain `transformers` after the last token of the joined parts."""
        with torch.inference_mode():
            logits = self.plain(input_ids=torch.from_numpy(np.concatenate(parts)[None]), use_cache=False).logits
        last: NDArray[np.float32] = logits[0, -1].numpy()
        return last

def save_tiny(name: str, directory: Path) -> None:
    """A tiny model of an architecture, with large weights."""
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(name, **{**COMMON, **MODELS[name]}))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.12)
    model.save_pretrained(directory)


def pair(name: str, directory: Path, *, compiled: bool = True) -> Pair:
    """In float32, with a pool full of NaN."""
    save_tiny(name, directory)
    runner = TorchRunner(load_model(str(directory), dtype="float32"), compiled=compiled)
    runner.allocate(SLOTS)
    assert isinstance(runner._pools, CpuPools if compiled and find_compiler() else TorchPools), runner.kernels
    poison(runner)
    auto: Any = AutoModelForCausalLM
    plain = auto.from_pretrained(directory, attn_implementation="eager")
    return Pair(runner, plain.eval())


def poison(runner: TorchRunner) -> None:
    assert isinstance(runner._pools, TorchPools | CpuPools)
    for pool in runner._pools:
        pool.keys.fill_(torch.nan)
        pool.values.fill_(torch.nan)


@dataclass
class Slots:
    """Hands out slots in random order, so that no run is contiguous."""

    order: NDArray[np.int64] = field(default_factory=lambda: np.random.default_rng(1).permutation(SLOTS))
    used: int = 0

    def take(self, count: int) -> NDArray[np.int64]:
        self.used += count
        return self.order[self.used - count : self.used]


def assert_equal(found: NDArray[np.float32], expected: list[NDArray[np.float32]]) -> None:
    assert found.dtype == np.float32
    assert found.shape == (len(expected), COMMON["vocab_size"])
    for row, wanted in zip(found, expected, strict=True):
        assert np.abs(row - wanted).max() < 1e-5 * max(1.0, float(np.abs(wanted).max()))
