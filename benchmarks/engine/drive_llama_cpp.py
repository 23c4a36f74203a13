"""llama.cpp through llama-cpp-python's low-level interface: batches over sequences that share KV by `seq_cp`.

`unified`: one KV buffer for all sequences, in which copies cost nothing and each row looks at every cell; `streams`:
a buffer for each sequence, in which a shared prefix is computed once and copied. Flash attention, KV in float16; for
float32 without flash attention and with KV in float32, as flash attention is not exact there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from protocol import MOST_SEQUENCES, STEP_TOKENS, Driver, Load, serve
from workloads import Shape, Tokens, Workload

UBATCH = 512
MARGIN = 256
"""Cells beyond those in use."""
KINDS = {("float32", "same"): "float32", ("bfloat16", "same"): "bfloat16", ("bfloat16", "int8"): "q8_0"}


@llama.llama_log_callback  # type: ignore[untyped-decorator]
def _quiet(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """llama.cpp's messages are not wanted."""


@dataclass(frozen=True)
class Row:
    """A token of a sequence; `wanted`: whether its logits are."""

    token: int
    position: int
    sequence: int
    wanted: bool


class LlamaCpp(Driver):
    def load(self, load: Load) -> str:
        llama.llama_log_set(_quiet, ctypes.c_void_p(0))
        llama.llama_backend_init()
        kind = KINDS[load.dtype, load.weights]
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self._model = llama.llama_model_load_from_file(
            str(Path(load.folder, f"{kind}.gguf")).encode(), parameters)
        if not self._model:
            raise RuntimeError("llama.cpp did not load the model")
        self._vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self._exact = load.dtype == "float32"
        self._threads = load.threads
        self._batch = llama.llama_batch_init(STEP_TOKENS, 0, 1)
        self._contexts: dict[tuple[str, str], Any] = {}
        return f"llama.cpp (llama-cpp-python {version('llama-cpp-python')}, {kind})"

    def _context(self, shape: Shape, variant: str) -> Any:
        """Made once for a workload, its memory emptied before each run."""
        key = (shape.name, variant)
        if key not in self._contexts:
            unified = variant == "unified"
            parameters = llama.llama_context_default_params()
            cells = shape.most_tokens if unified else shape.longest * shape.requests
            parameters.n_ctx = cells + (MARGIN if unified else MARGIN * shape.requests)
            parameters.n_batch, parameters.n_ubatch = STEP_TOKENS, UBATCH
            parameters.n_seq_max = min(shape.requests, MOST_SEQUENCES)
            parameters.n_threads = parameters.n_threads_batch = self._threads
            parameters.flash_attn_type = 0 if self._exact else 1
            parameters.kv_unified = unified
            parameters.type_k = parameters.type_v = 0 if self._exact else 1  # float32, float16
            self._contexts[key] = llama.llama_init_from_model(self._model, parameters)
            if not self._contexts[key]:
                del self._contexts[key]
                raise RuntimeError(f"no context of {parameters.n_ctx} cells")
        return self._contexts[key]

    def prepare(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        context = self._context(workload.shape, variant)
        llama.llama_memory_clear(llama.llama_get_memory(context), False)
        return lambda: self._run(workload, context)

    def _run(self, workload: Workload, context: Any) -> list[list[Tokens]]:
        shape = workload.shape
        first, position = self._prefill(workload, context)
        outputs: list[list[Tokens]] = []
        for number in range(shape.rounds):
            if number:
                new = [[before[-1], *turn] for before, turn in
                       zip(outputs[-1], workload.turns[number - 1], strict=True)]
                first = self._rows(context, new, position, range(shape.requests))
                position += shape.turn + 1
            given = [[token] for token in first]
            for _ in range(shape.outputs - 1):
                rows = [Row(output[-1], position, sequence, True) for sequence, output in enumerate(given)]
                for output, token in zip(given, self._decode(context, rows), strict=True):
                    output.append(token)
                position += 1
            outputs.append(given)
        return outputs

    def _prefill(self, workload: Workload, context: Any) -> tuple[list[int], int]:
        """Each level once, in the sequence of its first leaf, then copied to where the next begins: first tokens,
        position.
        """
        memory = llama.llama_get_memory(context)
        leaves = workload.shape.requests
        position = 0
        first: list[int] = []
        above = range(0)
        for (count, length), segments in zip(workload.shape.levels, workload.segments, strict=True):
            owners = range(0, leaves, leaves // count)
            for owner in above:
                for sequence in range(owner + owners.step, owner + above.step, owners.step):
                    llama.llama_memory_seq_cp(memory, owner, sequence, -1, -1)
            first = self._rows(context, segments, position, owners)
            position += length
            above = owners
        return first, position

    def _rows(self, context: Any, tokens: list[Tokens], position: int, sequences: Iterable[int]) -> list[int]:
        """What follows each of `tokens`, which begin at `position` in their sequences."""
        rows = [Row(token, position + index, sequence, index == len(own) - 1)
                for own, sequence in zip(tokens, sequences, strict=True) for index, token in enumerate(own)]
        return self._decode(context, rows)

    def _decode(self, context: Any, rows: list[Row]) -> list[int]:
        """Greedy choices of the rows that want one."""
        found = []
        batch = self._batch
        for begin in range(0, len(rows), STEP_TOKENS):
            part = rows[begin : begin + STEP_TOKENS]
            batch.n_tokens = len(part)
            for index, row in enumerate(part):
                batch.token[index], batch.pos[index] = row.token, row.position
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, row.sequence
                batch.logits[index] = row.wanted
            if code := llama.llama_decode(context, batch):
                raise RuntimeError(f"llama_decode gave {code}")
            for index, row in enumerate(part):
                if row.wanted:
                    logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(context, index),
                                                   shape=(self._vocabulary,))
                    found.append(int(logits.argmax()))
        return found


if __name__ == "__main__":
    serve(LlamaCpp())
