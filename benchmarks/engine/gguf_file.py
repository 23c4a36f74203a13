"""Writes a Llama of `transformers` (float32, safetensors) as a GGUF file, with the `gguf` library.

    python gguf_file.py MODEL_DIRECTORY float32|bfloat16|q8_0 OUT.gguf

Runs in llama.cpp's environment: needs gguf, numpy and safetensors.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[np.float32]

KINDS = {  # as in gguf_kinds
    "float32": (gguf.LlamaFileType.ALL_F32, gguf.GGMLQuantizationType.F32),
    "bfloat16": (gguf.LlamaFileType.MOSTLY_BF16, gguf.GGMLQuantizationType.BF16),
    "q8_0": (gguf.LlamaFileType.MOSTLY_Q8_0, gguf.GGMLQuantizationType.Q8_0),
}
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write_gguf(model: Path, kind: str, target: Path) -> None:
    """`kind`: see KINDS. Vectors stay float32, as llama.cpp wants them. The file appears when it is whole."""
    config = json.loads((model / "config.json").read_text())
    weights = load_file(model / "model.safetensors")
    file_type, quantization = KINDS[kind]
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    writer = gguf.GGUFWriter(unfinished, "llama")
    writer.add_file_type(file_type)
    add_shape(writer, config)
    add_tokenizer(writer, json.loads((model / "tokenizer.json").read_text()), config)
    for name, array in tensors(weights, config):
        if array.ndim == 1 or kind == "float32":
            writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float32))
        else:
            writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(array), quantization),
                              raw_dtype=quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(target)


def tensors(weights: dict[str, Array], config: dict[str, Any]) -> list[tuple[str, Array]]:
    """All tensors by llama.cpp's names."""
    found = [(f"{ours}.weight", weights[f"{theirs}.weight"]) for theirs, ours in OUTER_NAMES.items()]
    heads = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": config["num_key_value_heads"]}
    for layer in range(config["num_hidden_layers"]):
        for theirs, ours in LAYER_NAMES.items():
            array = weights[f"model.layers.{layer}.{theirs}.weight"]
            if theirs in heads:
                array = interleaved(array, heads[theirs])
            found.append((f"blk.{layer}.{ours}.weight", array))
    return found


def interleaved(matrix: Array, heads: int) -> Array:
    """Rows reordered: `transformers` rotates an element with that half a head away, llama.cpp with its neighbour."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def add_shape(writer: Any, config: dict[str, Any]) -> None:
    """Sizes, and what attention needs to know."""
    writer.add_name("benchmark")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config.get("rope_parameters") or config
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])


def add_tokenizer(writer: Any, tokenizer: dict[str, Any], config: dict[str, Any]) -> None:
    """Of the kind that `made_model` trains: byte-level BPE, special tokens first."""
    texts = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    texts |= {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    special = {token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    size = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([texts[number] for number in range(size)])
    writer.add_token_types([int(gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL)
                            for number in range(size)])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge)
                             for merge in tokenizer["model"]["merges"]])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)


if __name__ == "__main__":
    write_gguf(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
