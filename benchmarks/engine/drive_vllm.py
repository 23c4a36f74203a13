"""vLLM on the CPU, compiled, with its prefix cache, in this one process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from protocol import KV_BYTES, MOST_SEQUENCES, STEP_TOKENS, Driver, Load, run_rounds, serve
from workloads import Tokens, Workload


class Vllm(Driver):
    def load(self, load: Load) -> str:
        if load.weights != "same":
            raise NotImplementedError(f"no {load.weights} weights are made for vLLM on CPUs")
        os.environ |= {
            "VLLM_CPU_KVCACHE_SPACE": str(KV_BYTES >> 30),
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{load.threads - 1}",
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
        }
        from vllm import LLM

        self._model = LLM(model=load.model, dtype=load.dtype, enforce_eager=False, enable_prefix_caching=True,
                          max_model_len=load.longest + 1, max_num_seqs=MOST_SEQUENCES,
                          max_num_batched_tokens=STEP_TOKENS, gpu_memory_utilization=0.2, disable_log_stats=True)
        return f"vLLM (vllm-cpu {version('vllm-cpu')}, compiled)"

    def prepare(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        return partial(run_rounds, workload, variant, self._generate)

    def _generate(self, prompts: list[Tokens], count: int) -> list[Tokens]:
        from vllm import SamplingParams

        options = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, detokenize=False)
        results = self._model.generate([{"prompt_token_ids": prompt} for prompt in prompts], options, use_tqdm=False)
        return [list(result.outputs[0].token_ids) for result in results]


if __name__ == "__main__":
    serve(Vllm())
