"""The tokenizer of the model: a byte-level BPE of what lessons and prompts hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from ....backend.embedded import BOS, CHAT_TEMPLATE, EOS, TURN
from .questions import choose, choose_name, name_cause
from .shape import CONFIG, CONTEXT_LENGTH, VOCABULARY_SIZE
from .storage import write_json

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORLDS = 3000
"""Questions whose texts the tokenizer is trained on."""


def corpus(seed: int) -> Iterator[str]:
    """Texts of questions, the sources of the programs, letters as they stand in answers, and plain English."""
    for number in range(WORLDS):
        rng = random.Random(f"{seed}/tokenizer/{number}")
        kind = rng.randrange(3)
        question = choose(rng, 0.3, 4) if kind == 0 else choose_name(rng, 0.4, 6) if kind == 1 else name_cause(rng, 0.4)
        yield from texts_of(question.arguments)
        yield from question.answers.values()
        yield " ".join(["Answer:", rng.choice(LETTERS)])
    programs = sorted((resources.files("semlang.programs.rca")).iterdir(), key=lambda file: file.name)
    for file in programs:
        if file.name.endswith(".sem"):
            yield from file.read_text(encoding="utf-8").splitlines() * 3
    english = (resources.files("semlang.backend") / "embedded_corpus.txt").read_text(encoding="utf-8")
    yield from english.splitlines() * 5


def texts_of(value: Any) -> Iterator[str]:
    """Every text in an argument."""
    if isinstance(value, str):
        yield " " + value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part)


def write_tokenizer(directory: Path, seed: int) -> None:
    """Train and write tokenizer, chat template and configuration, as `save_pretrained` would."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY_SIZE, min_frequency=2, show_progress=False,
                                  special_tokens=[BOS, EOS, TURN],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(seed), trainer)
    if tokenizer.get_vocab_size() != VOCABULARY_SIZE:
        raise ValueError(f"the corpus gave {tokenizer.get_vocab_size()} tokens instead of {VOCABULARY_SIZE}")
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)])
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(directory / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
        "model_max_length": CONTEXT_LENGTH, "clean_up_tokenization_spaces": False})
    write_json(directory / "special_tokens_map.json", {"bos_token": BOS, "eos_token": EOS})
    write_json(directory / "config.json", CONFIG | {"bos_token_id": bos, "eos_token_id": eos})
    write_json(directory / "generation_config.json", {"bos_token_id": bos, "eos_token_id": eos})
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
