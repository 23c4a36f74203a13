"""The embedded default: a small byte-level BPE tokenizer and a tiny random Llama, built on first use, never downloaded.

Both are functions of this file and of `embedded_corpus.txt`; they are kept in a cache directory whose name
carries a hash of both, as plain model directories that `transformers` can load.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tokenizer import PieceTokenizer

VOCABULARY_SIZE = 2048
CONTEXT_LENGTH = 8192
BOS, EOS, TURN = "<|bos|>", "<|eos|>", "<|turn|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|turn|>' + message.role + '\\n' + message.content + '<|eos|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|turn|>assistant\\n' }}{% endif %}"
)

MODEL_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "max_position_embeddings": CONTEXT_LENGTH,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "semlang_dtype": "float32",
}


def cache_directory() -> Path:
    """Where built models are kept: `SEMC_CACHE`, else `semlang` in the platform's cache folder."""
    if override := os.environ.get("SEMC_CACHE"):
        return Path(override)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "semlang"


@lru_cache(1)
def _content_version() -> str:
    sources = resources.files(__package__)
    names = ("embedded_corpus.txt", "embedded.py", "embedded_weights.py")
    return hashlib.sha256(b"\0".join((sources / name).read_bytes() for name in names)).hexdigest()[:16]


def build_once(name: str, build: Callable[[Path], None], base: Path | None = None) -> Path:
    """The cache directory `name`, filled by `build` if it is missing. Two processes may race: one of them wins.

    `base` replaces the cache directory. Where the platform's cannot be written, a folder for this user among the
    temporary files is used; one that was asked for and cannot be written is an OSError.
    """
    target = (base or cache_directory()) / f"{name}-{_content_version()}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    except OSError:
        if base is not None or os.environ.get("SEMC_CACHE"):
            raise
        return build_once(name, build, Path(tempfile.gettempdir()) / f"semlang-{getpass.getuser()}")
    try:
        build(scratch)
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def embedded_tokenizer_directory() -> Path:
    """A directory with the default tokenizer and the configuration of the default model, without weights."""
    return build_once("embedded-tokenizer", write_tokenizer_files)


@lru_cache(1)
def embedded_tokenizer() -> PieceTokenizer:
    """The default tokenizer, loaded once."""
    from .tokenizer import load_tokenizer

    return load_tokenizer(embedded_tokenizer_directory())


def embedded_model_directory() -> Path:
    """The default model, complete with weights. Needs `safetensors` (`pip install 'semlang[torch]'`)."""
    from .embedded_weights import write_weights

    def build(directory: Path) -> None:
        write_tokenizer_files(directory)
        write_weights(directory)

    return build_once("embedded-model", build)


def write_tokenizer_files(directory: Path) -> None:
    """Write tokenizer, chat template and configuration, as `save_pretrained` would."""
    tokenizer = _train_tokenizer()
    ids = {name: tokenizer.token_to_id(name) for name in (BOS, EOS)}
    config = MODEL_CONFIG | {
        "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": ids[BOS],
        "eos_token_id": ids[EOS],
        "pad_token_id": None,
    }
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "model_max_length": CONTEXT_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    tokenizer.save(str(directory / "tokenizer.json"))
    _write_json(directory / "tokenizer_config.json", tokenizer_config)
    _write_json(directory / "special_tokens_map.json", {"bos_token": BOS, "eos_token": EOS})
    _write_json(directory / "config.json", config)
    _write_json(directory / "generation_config.json", {"bos_token_id": ids[BOS], "eos_token_id": ids[EOS]})
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _train_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=2,
        show_progress=False,
        special_tokens=[BOS, EOS, TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    corpus = (resources.files(__package__) / "embedded_corpus.txt").read_text(encoding="utf-8")
    tokenizer.train_from_iterator(corpus.splitlines(keepends=True), trainer)
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)]
    )
    return tokenizer
