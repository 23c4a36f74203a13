"""Generated texts of an exact number of tokens under any tokenizer."""

from __future__ import annotations

import random
from importlib import resources

from ...ir.target import Tokenizer

ATTEMPTS = 64


class TextMaker:
    """Draws texts from a seed; equal seeds and tokenizers give equal texts."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._tokenizer = tokenizer
        self._random = random.Random(seed)
        self._sizes = _word_sizes(tokenizer)
        self._filler = next((word for word, size in self._sizes.items() if size == 1), "a")

    def text(self, tokens: int) -> str:
        """A text that is a piece of exactly `tokens` tokens (at least 1) when it is inserted by itself.

        Raises ValueError where the tokenizer has no words to reach that number.
        """
        for _ in range(ATTEMPTS):
            words = self._words(tokens)
            for _ in range(ATTEMPTS):
                missing = tokens - self._count(words)
                if missing == 0:
                    return " ".join(words)
                if missing > 0:
                    words += [self._filler] * missing
                elif len(words) > 1:
                    words.pop()
                else:
                    break
        raise ValueError(f"cannot write a text of exactly {tokens} tokens with this tokenizer")

    def _words(self, tokens: int) -> list[str]:
        names = list(self._sizes)
        words: list[str] = []
        total = 0
        while total < tokens:
            word = self._random.choice(names)
            words.append(word)
            total += self._sizes[word]
        return words

    def _count(self, words: list[str]) -> int:
        return len(self._tokenizer.encode_piece(" ".join(words), first=False))


def _word_sizes(tokenizer: Tokenizer) -> dict[str, int]:
    """How many tokens each word has after a space."""
    words = resources.files(__package__).joinpath("words.txt").read_text(encoding="utf-8").split()
    return {word: len(tokenizer.encode_piece(" " + word, first=False)) for word in words}
