"""Files of a training: checkpoints that a later run goes on from, and the model as `transformers` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Network


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object, indented."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write everything that training goes on from; a run that is killed meanwhile leaves the old file."""
    import torch

    scratch = path.with_suffix(".part")
    torch.save(state, scratch)
    scratch.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, or None where there is nothing yet."""
    import torch

    state: dict[str, Any] | None = torch.load(path, weights_only=True) if path.is_file() else None
    return state


def export_weights(network: Network, directory: Path) -> None:
    """Write `model.safetensors` in bfloat16 beside the configuration in `directory`."""
    import torch
    from safetensors.torch import save_file

    weights = {name: weight.detach().to(torch.bfloat16).contiguous() for name, weight in transformers_weights(network)}
    save_file(weights, str(directory / "model.safetensors"), metadata={"format": "pt"})


def transformers_weights(network: Network) -> list[tuple[str, Tensor]]:
    """The weights under the names that a `LlamaForCausalLM` with tied embeddings has for them."""
    import torch

    from .network import HEAD, INNER, KV_HEADS, WIDTH

    found: list[tuple[str, Tensor]] = [("model.embed_tokens.weight", network.embedding),
                                       ("model.norm.weight", network.norm)]
    for number, block in enumerate(network.layers):
        layer = f"model.layers.{number}."
        queries, keys, values = torch.split(block.qkv, [WIDTH, HEAD * KV_HEADS, HEAD * KV_HEADS])
        gate, up = torch.split(block.gate_up, [INNER, INNER])
        found += [(layer + "input_layernorm.weight", block.norm_attention),
                  (layer + "post_attention_layernorm.weight", block.norm_mlp),
                  (layer + "self_attn.q_proj.weight", queries), (layer + "self_attn.k_proj.weight", keys),
                  (layer + "self_attn.v_proj.weight", values), (layer + "self_attn.o_proj.weight", block.out),
                  (layer + "mlp.gate_proj.weight", gate), (layer + "mlp.up_proj.weight", up),
                  (layer + "mlp.down_proj.weight", block.down)]
    return found
