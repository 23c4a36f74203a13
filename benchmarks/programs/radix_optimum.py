"""What a perfect token-level radix tree would share of the same prompts, whatever their order and its memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sharing:
    """`prompt_tokens`: tokens of all prompts; `filled_tokens`: those that have to be computed."""

    prompt_tokens: int
    filled_tokens: int

    @property
    def share(self) -> float:
        """The part of the prompts that is not computed, 0 to 1."""
        return 1.0 - self.filled_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def radix_optimum(calls: Iterable[tuple[Sequence[int], Sequence[int]]], kept: bool = True) -> Sharing:
    """The sharing of calls, each a prompt and its output.

    A prompt's token is computed once for each different sequence of tokens up to it, and never where an output
    (`kept`: all but its last token, which is never fed) has been computed as its continuation already.
    """
    prompts = [tuple(prompt) for prompt, _ in calls]
    whole = sorted({(*prompt, *output[:-1]) if kept else tuple(prompt) for prompt, output in calls} | set(prompts))
    decoded = 0
    generated: set[tuple[int, ...]] = set()
    for prompt, output in calls:
        if kept:
            generated |= {(*prompt, *output[:end]) for end in range(1, len(output))}
    nodes = 0
    before: tuple[int, ...] = ()
    for tokens in whole:
        nodes += len(tokens) - _common(before, tokens)
        before = tokens
    decoded = len(generated)
    return Sharing(sum(map(len, prompts)), nodes - decoded)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    size = min(len(a), len(b))
    return next((i for i in range(size) if a[i] != b[i]), size)
