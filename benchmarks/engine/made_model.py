"""The model of the benchmark: a random Llama of 58 million parameters and a tokenizer, made on the spot and kept.

Weights follow from a fixed seed, the tokenizer is trained on Python's own library. All engines get the same weights:
`float32` and `bfloat16` are directories for `transformers`; other forms are made from the first. The model never says
a special token or a part of a character, so every output is text that stands for these very tokens.
"""

from __future__ import annotations

import hashlib
import sysconfig
from pathlib import Path
from typing import Any

from semlang.backend.embedded import build_once
from workloads import VOCABULARY

SHAPE: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "initializer_range": 0.04,
}
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
SOURCES = 600
"""The largest of the library's files; more would take longer and change nothing."""


def model_directory(dtype: str) -> Path:
    """The model in `float32` or `bfloat16`; both are built on first use (some seconds)."""
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    return build_once(f"engine-benchmark-{version}", build) / dtype


def build(directory: Path, shape: dict[str, Any] = SHAPE, sources: int = SOURCES) -> None:
    """Write both copies below `directory`; `sources`: files that the tokenizer is trained on."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = shape["vocab_size"]
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**shape, bos_token_id=1, eos_token_id=2, dtype=torch.float32))
    folders = [directory / "float32", directory / "bfloat16"]
    unsaid = write_tokenizer(folders, vocabulary, library_sources(sources))
    with torch.no_grad():
        model.lm_head.weight[unsaid] = 0.0  # the largest logit of thousands is above 0
    model.save_pretrained(folders[0])
    model.bfloat16().save_pretrained(folders[1])


def write_tokenizer(folders: list[Path], vocabulary: int, sources: list[str]) -> list[int]:
    """A byte-level BPE with exactly `vocabulary` tokens; it puts no token of its own in front.

    The ids of special tokens and of those that are not whole characters.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train(sources, trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL.values()), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    missing = vocabulary - tokenizer.get_vocab_size()
    if missing > 0:
        tokenizer.add_tokens([f"<unused{number}>" for number in range(missing)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=SPECIAL["eos_token"],  # type: ignore[no-untyped-call]
                                   **SPECIAL)
    fast.model_max_length = 4096
    for folder in folders:
        fast.save_pretrained(folder)
    return [token for token in range(vocabulary)
            if token < len(SPECIAL) or not tokenizer.decode([token], skip_special_tokens=False).isascii()]


def library_sources(most: int) -> list[str]:
    """Python's own library, without tests and installed packages, the largest files in ASCII."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in root.rglob("*.py")
             if not {"site-packages", "test", "tests", "lib2to3", "idlelib"} & set(path.relative_to(root).parts)]
    files = [path for path in files if path.read_bytes().isascii()]
    return [str(path) for path in sorted(files, key=lambda path: (-path.stat().st_size, path.name))[:most]]
