"""OpenVINO GenAI's continuous batching with its prefix cache.

It has to be primed to share a prefix inside one batch. KV has the data type that OpenVINO chooses; for float32 weights
it is float32, so that tokens can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openvino
import openvino_genai as genai
from protocol import KV_BYTES, MOST_SEQUENCES, STEP_TOKENS, Driver, Load, run_rounds, serve
from workloads import Tokens, Workload

PRECISION = {"float32": "f32", "bfloat16": "bf16"}


class OpenVino(Driver):
    def load(self, load: Load) -> str:
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = KV_BYTES >> 30
        scheduler.enable_prefix_caching = True
        scheduler.max_num_batched_tokens = STEP_TOKENS
        scheduler.max_num_seqs = MOST_SEQUENCES
        scheduler.dynamic_split_fuse = True
        options = {"INFERENCE_PRECISION_HINT": PRECISION[load.dtype], "INFERENCE_NUM_THREADS": load.threads}
        if load.dtype == "float32":
            options["KV_CACHE_PRECISION"] = "f32"
        form = "fp32" if load.weights == "same" else load.weights
        self._pipeline = genai.ContinuousBatchingPipeline(
            str(Path(load.folder, f"openvino_{form}")), scheduler, "CPU", options)
        return f"OpenVINO GenAI {version('openvino-genai')}"

    def prepare(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        return partial(run_rounds, workload, variant, self._generate)

    def _generate(self, prompts: list[Tokens], count: int) -> list[Tokens]:
        options = genai.GenerationConfig()
        options.max_new_tokens = options.min_new_tokens = count
        options.ignore_eos = True
        options.do_sample = False
        inputs = [openvino.Tensor(np.array([prompt], dtype=np.int64)) for prompt in prompts]
        results = self._pipeline.generate(inputs, [options] * len(prompts))
        return [list(result.m_generation_ids[0]) for result in results]


if __name__ == "__main__":
    serve(OpenVino())
