"""Semlang's `torch` engine, through fill, generate and free_context."""

from __future__ import annotations

import inspect
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

from protocol import KV_BYTES, MOST_SEQUENCES, Driver, Load, serve
from workloads import Tokens, Workload


class Ours(Driver):
    """A chat's next round goes on from the context of its last answer."""

    def load(self, load: Load) -> str:
        os.environ["OMP_NUM_THREADS"] = str(load.threads)
        from semlang.backend.torch_engine.engine import torch_engine
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(load.model)
        element = 4 if load.dtype == "float32" else 2
        token_bytes = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * element
        options: dict[str, Any] = {}
        if load.weights != "same":
            if "weights" not in inspect.signature(torch_engine).parameters:
                raise NotImplementedError(f"torch_engine has no option `weights`, so no {load.weights} weights")
            options["weights"] = load.weights
        self._engine = torch_engine(load.model, dtype=load.dtype, threads=load.threads, self_check=False,
                                    kv_slots=KV_BYTES // token_bytes, max_batch=MOST_SEQUENCES, **options)
        self._ids = itertools.count(1)
        return f"semlang ({self._engine.stats().kernels})"

    def prepare(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        return lambda: self._run(workload)

    def _run(self, workload: Workload) -> list[list[Tokens]]:
        from semlang.backend.engine import ROOT

        made: list[int] = []
        parents = [ROOT] * workload.shape.requests
        new = workload.prompts()
        outputs = []
        for number in range(workload.shape.rounds):
            if number:
                new = workload.turns[number - 1]
            contexts, given = self._generate(new, parents, workload.shape.outputs, made)
            outputs.append(given)
            parents = contexts
        for context in made:
            self._engine.free_context(context)
        return outputs

    def _generate(self, new: list[Tokens], parents: list[int], count: int,
                  made: list[int]) -> tuple[list[int], list[Tokens]]:
        """All at once: fill `new` below `parents` and generate. The contexts at the end, and what was generated."""
        from semlang.backend.engine import Callbacks, Generation, SamplingOptions

        done = threading.Semaphore(0)
        outputs: list[Tokens] = [[] for _ in new]
        errors: list[Exception] = []
        ends = []
        options = SamplingOptions(max_tokens=count, ignore_eos=True)

        def failed(error: Exception) -> None:
            errors.append(error)
            done.release()

        with self._engine.hold():
            for number, (tokens, parent) in enumerate(zip(new, parents, strict=True)):
                filled, end = next(self._ids), next(self._ids)

                def finished(generation: Generation, number: int = number) -> None:
                    outputs[number] = list(generation.sampled_ids)
                    if generation.kept_ids + generation.tail_ids != generation.sampled_ids:
                        errors.append(ValueError("a context keeps other tokens than were generated"))
                    done.release()

                self._engine.fill(tokens, filled, parent)
                self._engine.generate(options, end, filled, Callbacks(finished, failed))
                made += [filled, end]
                ends.append(end)
        for _ in new:
            done.acquire()
        if errors:
            raise errors[0]
        return ends, outputs


if __name__ == "__main__":
    serve(Ours())
