"""What passes may ask of the machine that a program is compiled for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class TokenizerError(ValueError):
    """A chat template or tokenizer cannot keep the language's rules; the message is for users."""


class Tokenizer(Protocol):
    """A tokenizer under the language's rules for pieces (see docs/language.md, Tokenization)."""

    vocabulary_size: int
    eos_ids: frozenset[int]
    bos_id: int | None
    """The id that a context starts with, or None where the model has none."""
    has_dummy_prefix: bool
    """Whether the first piece of a prompt is tokenized differently from later ones."""
    longest_token_bytes: int
    digest: str
    """Identifies vocabulary, merges and chat template."""

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        """Ids of one piece, special tokens disabled, no BOS; `first` when it opens the prompt."""

    def encode_scaffold(self, text: str) -> list[int]:
        """Ids of chat-template text, special tokens enabled, no BOS added."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; empty for special tokens."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids; incomplete UTF-8 at the end is dropped, special tokens give nothing."""

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        """Template text between the content of the last part in `roles_so_far` and that of a new part `role`.

        The text before the first part (BOS aside) when `roles_so_far` is empty. Roles are `system`,
        `user`, `assistant`. Raises TokenizerError when the template loses, trims or reorders content.
        """


class StepCosts(Protocol):
    """What a step of the model's engine costs, in seconds; `passes.cost_model.CostModel` is one."""

    @property
    def step(self) -> float:
        """A step by itself."""

    @property
    def prefill_token(self) -> float:
        """A prompt token."""

    @property
    def decode_row(self) -> float:
        """A row that decodes."""

    @property
    def kv_token(self) -> float:
        """A KV token that is read."""


@dataclass
class ModelTarget:
    """One model: its tokenizer (None when only checking), its context length in tokens, and its engine's limits.

    `kv_slots`: tokens that the engine's KV memory holds; `max_batch`, `max_step_tokens`: rows and tokens of one step;
    `costs`: what a step costs. None where it is not known. `engines`: how many of them run the model.
    """

    tokenizer: Tokenizer | None = None
    context_length: int | None = None
    kv_slots: int | None = None
    max_batch: int | None = None
    max_step_tokens: int | None = None
    costs: StepCosts | None = None
    engines: int = 1


@dataclass
class Target:
    """Everything that a pass may know beyond the module: models by alias; the default has the alias ''."""

    models: dict[str, ModelTarget] = field(default_factory=dict)
    engine: str = "reference"

    def model(self, alias: str) -> ModelTarget:
        """The model that `alias` stands for; the default model where nothing was bound."""
        return self.models.get(alias) or self.models.get("") or ModelTarget()
