"""A random Llama of 75 million parameters, with a tokenizer of invented words, made on the spot and kept.

Its outputs are sequences of whole words that the tokenizer cuts into the same tokens again, and never EOS: an output
has the length of its budget, and an output that is inserted into another prompt has as many tokens there.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from safetensors.numpy import save_file
from semlang.backend.embedded import BOS, CHAT_TEMPLATE, EOS, MODEL_CONFIG, TURN, build_once
from semlang.backend.embedded_weights import make_weights
from semlang.backend.tokenizer import load_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY_SIZE = 16_384
WORDS = 12_000
SHAPE = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 16_384,
}


def invented_words(count: int = WORDS) -> list[str]:
    """Different words of two or three syllables, the same in every run."""
    generator = random.Random(7)
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = generator.choice((2, 2, 3))
        words["".join(generator.choice("bdfgklmnprstvz") + generator.choice("aeiou") for _ in range(syllables))] = None
    return list(words)


def text_of(tokens: int, seed: int) -> str:
    """A text of about as many tokens: one for each of its words."""
    words = invented_words()
    generator = random.Random(seed)
    return " ".join(generator.choice(words) for _ in range(tokens))


def model_directory() -> Path:
    """The directory of the model, built on first use (some seconds)."""
    return build_once("benchmark-model", _build)


def _build(directory: Path) -> None:
    tokenizer = _train_tokenizer()
    ids = {name: tokenizer.token_to_id(name) for name in (BOS, EOS)}
    config = MODEL_CONFIG | SHAPE | {
        "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": ids[BOS],
        "eos_token_id": ids[EOS],
    }
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS, "add_bos_token": True}))
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    weights = make_weights(config)
    pieces = load_tokenizer(directory)
    for token in range(config["vocab_size"]):
        text = pieces.token_bytes(token).decode("latin-1")
        if not re.fullmatch(r" [a-z]{4,}", text) or pieces.encode_piece(text, first=False) != [token]:
            weights["lm_head.weight"][token] = 0.0  # the largest logit of thousands is above 0
    save_file(weights, str(directory / "model.safetensors"), metadata={"format": "pt"})


def _train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, show_progress=False, special_tokens=[BOS, EOS, TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def _corpus() -> Iterator[str]:
    """Every word, rarer ones first in the alphabet of merges, and the English of this folder's programs."""
    words = invented_words()
    for _ in range(4):
        yield " " + " ".join(words)
    for source in sorted(Path(__file__).parent.glob("*.sem")):
        yield source.read_text(encoding="utf-8")
