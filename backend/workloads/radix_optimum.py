"""What a perfect token-level radix tree would share of the prompts of a run, whatever their order and its memory."""

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


def radix_optimum(calls: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Sharing:
    """The sharing of calls, each a prompt (without BOS) and the tokens that were generated after it.

    Each different beginning of a prompt is computed once, and not at all where it was generated: an output's tokens
    are computed while it is decoded, all but the last, which is never fed to the model.
    """
    nodes: dict[tuple[int, int], int] = {}
    generated: set[int] = set()
    prompt_tokens = 0
    for prompt, output in calls:
        prompt_tokens += len(prompt)
        node = 0
        for token in prompt:
            node = nodes.setdefault((node, token), len(nodes) + 1)
        for token in output[:-1]:
            node = nodes.setdefault((node, token), len(nodes) + 1)
            generated.add(node)
    return Sharing(prompt_tokens, len(nodes) - len(generated))
