"""Seeded weights of the embedded tiny Llama, written as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 20240101
EOS_SCALE = 2.5
"""EOS's output row is longer than others, so that EOS wins now and then."""


def write_weights(directory: Path) -> None:
    """Write `model.safetensors` for the `config.json` in `directory`. Raises ImportError without safetensors."""
    from safetensors.numpy import save_file

    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    save_file(make_weights(config), str(directory / "model.safetensors"), metadata={"format": "pt"})


def make_weights(config: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Uniform weights [out, in] with unit gain; norms are 1. The same on every platform (Philox, no normal draws)."""
    random = np.random.Generator(np.random.Philox(SEED))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"] * config["head_dim"]
    kv_heads = config["num_key_value_heads"] * config["head_dim"]

    def matrix(rows: int, columns: int, gain: float = 1.0) -> NDArray[np.float32]:
        bound = gain * np.sqrt(3.0 / columns)
        values: NDArray[np.float32] = ((2.0 * random.random((rows, columns)) - 1.0) * bound).astype(np.float32)
        return values

    ones = np.ones(hidden, dtype=np.float32)
    weights = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden, gain=np.sqrt(hidden))}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        weights[layer + "input_layernorm.weight"] = ones
        weights[layer + "self_attn.q_proj.weight"] = matrix(heads, hidden, gain=2.0)
        weights[layer + "self_attn.k_proj.weight"] = matrix(kv_heads, hidden, gain=2.0)
        weights[layer + "self_attn.v_proj.weight"] = matrix(kv_heads, hidden, gain=2.0)
        weights[layer + "self_attn.o_proj.weight"] = matrix(hidden, heads, gain=2.0)
        weights[layer + "post_attention_layernorm.weight"] = ones
        weights[layer + "mlp.gate_proj.weight"] = matrix(inner, hidden)
        weights[layer + "mlp.up_proj.weight"] = matrix(inner, hidden)
        weights[layer + "mlp.down_proj.weight"] = matrix(hidden, inner, gain=2.0)
    weights["model.norm.weight"] = ones
    weights["lm_head.weight"] = matrix(config["vocab_size"], hidden, gain=2.0)
    weights["lm_head.weight"][config["eos_token_id"]] *= EOS_SCALE
    return weights
