"""Models that read: what they write depends on the text before it, as a function of the test says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from semlang.backend.embedded import CONTEXT_LENGTH, embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, FillHint, Generation, Priority, SamplingOptions
from semlang.backend.model_runner import StepBatch
from semlang.backend.step_engine import StepEngine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import ModelTarget, Target, Tokenizer
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline

Reader = Callable[[str], str]
"""Given the text so far, how the model would go on; "" to end."""


class ReadingRunner:
    """A `ModelRunner` that prefers the tokens with which `reader` would go on. Masks of decoding come after it, so
    where a grammar forbids what it wants it takes something else."""

    kernels = "reading"
    kv_bytes_per_token = 8

    def __init__(self, tokenizer: Tokenizer, reader: Reader, context_length: int = CONTEXT_LENGTH) -> None:
        self.vocabulary_size, self.context_length = tokenizer.vocabulary_size, context_length
        self.tokenizer, self.reader = tokenizer, reader
        self._bytes = [tokenizer.token_bytes(token) for token in range(self.vocabulary_size)]
        self._tokens = {self._bytes[t]: t for t in range(self.vocabulary_size)
                        if self._bytes[t] and t not in tokenizer.eos_ids}
        self._longest = max(map(len, self._tokens))
        self.kv: NDArray[np.int64] = np.zeros(0, np.int64)

    def allocate(self, slots: int) -> None:
        self.kv = np.zeros(slots, np.int64)

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        rows = []
        for segment in batch.segments:
            self.kv[segment.slots] = segment.token_ids
            if segment.wants_logits:
                before = [self.kv[batch.runs[i].slots] for i in segment.ancestors]
                tokens: list[int] = np.concatenate([*before, segment.token_ids]).tolist()
                rows.append(self._logits(b"".join(map(self._bytes.__getitem__, tokens))))
        return np.array(rows, np.float32).reshape(len(rows), self.vocabulary_size)

    def _logits(self, content: bytes) -> NDArray[np.float32]:
        # Where nothing that it wants is allowed, what closes a text or a list is next best, then digits.
        row = np.zeros(self.vocabulary_size, np.float32)
        for sign, score in ((b'"', 8.0), (b"]", 7.0), (b"}", 7.0), (b"0", 5.0), (b"e", 4.0)):
            row[self._tokens[sign]] = score
        wanted = self.reader(content.decode(errors="replace")).encode()
        if not wanted:
            row[list(self.tokenizer.eos_ids)] = 50.0
        for length in range(1, min(len(wanted), self._longest) + 1):
            token = self._tokens.get(wanted[:length])
            if token is not None:
                row[token] = 100.0 + length
        return row


@dataclass
class Context:
    """Tokens behind those of another context; those of an output are there once it is finished."""

    parent: "Context | None" = None
    tokens: tuple[int, ...] = ()

    def all(self) -> tuple[int, ...]:
        """The tokens from the root on."""
        return (self.parent.all() if self.parent is not None else ()) + self.tokens


class Door(StepEngine):
    """An engine that remembers what it was given: the tokens of every fill, and the context of every generate."""

    def __init__(self, runner: Any, tokenizer: Tokenizer, name: str = "door") -> None:
        self.contexts = {ROOT: Context()}
        self.asked: list[Context] = []
        super().__init__(runner, tokenizer, name=name, kv_slots=1 << 19)

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, *, label: str = "",
             hint: FillHint = FillHint()) -> None:
        self.contexts[context_id] = Context(self.contexts[parent_context_id], tuple(token_ids))
        super().fill(token_ids, context_id, parent_context_id, label=label, hint=hint)

    def generate(self, sampling: SamplingOptions, context_id: int, parent_context_id: int, callbacks: Callbacks, *,
                 priority: Priority = Priority(), label: str = "") -> None:
        self.asked.append(self.contexts[parent_context_id])
        output = self.contexts[context_id] = Context(self.contexts[parent_context_id])

        def on_finish(generation: Generation) -> None:
            output.tokens = generation.kept_ids + generation.tail_ids
            callbacks.on_finish(generation)

        kept = Callbacks(on_finish, callbacks.on_error, callbacks.on_text)
        super().generate(sampling, context_id, parent_context_id, kept, priority=priority, label=label)

    def prompts(self) -> list[tuple[int, ...]]:
        """The tokens before every output that was asked for."""
        return [context.all() for context in self.asked]

    def texts(self) -> list[str]:
        """The prompts as texts; special tokens give nothing."""
        table = [self.tokenizer.token_bytes(token) for token in range(self.tokenizer.vocabulary_size)]
        return [b"".join(map(table.__getitem__, prompt)).decode(errors="replace") for prompt in self.prompts()]


@lru_cache(maxsize=4)
def compiled_for_models(file: Path, level: int = 2, program: str | None = None) -> Module:
    """The program in `file` for the embedded tokenizer."""
    module = compile_file(str(file), program=program).module
    run_pipeline(module, pipeline(level), Target({"": ModelTarget(embedded_tokenizer(), CONTEXT_LENGTH)}))
    return module


def reading_engine(reader: Reader) -> Door:
    """An engine on the embedded tokenizer whose model goes on as `reader` says."""
    tokenizer = embedded_tokenizer()
    return Door(ReadingRunner(tokenizer, reader), tokenizer)


LABELS = ("Thought", "Tool", "Arguments", "Words and page", "Conclusion", "Answer", "Analysis", "Rating", "Summary",
          "Explanation", "Root cause")


def last_output(text: str) -> tuple[str, str]:
    """The label after which the model writes, and what it has written there so far. Telemetry has no such line, as each
    of its lines begins with a bar."""
    _, _, line = text.rpartition("\n")
    label, colon, written = line.partition(":")
    if not colon or label not in LABELS:
        raise AssertionError(f"the model writes where no label stands: {line[:60]!r}")
    return label, written
