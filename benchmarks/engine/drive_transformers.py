"""`transformers`: generate on whole prompts, generate below prefixes that were expanded by hand, continuous batching.

    python drive_transformers.py plain|expanded|batching
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import Any

import torch
import transformers
from protocol import KV_BYTES, STEP_TOKENS, Driver, Load, run_rounds, serve
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, DynamicCache, GenerationConfig
from workloads import Tokens, Workload

PAGE = 32
POLL_SECONDS = 0.05


class Transformers(Driver):
    """`way`: see above."""

    def __init__(self, way: str) -> None:
        self._way = way
        self._opened = ExitStack()

    def load(self, load: Load) -> str:
        if load.weights != "same":
            raise NotImplementedError(f"no {load.weights} weights are made for transformers")
        torch.set_num_threads(load.threads)
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        attention = "paged|sdpa" if self._way == "batching" else "sdpa"
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            load.model, dtype=getattr(torch, load.dtype), attn_implementation=attention)
        self._model.train(False)
        config = self._model.config
        token_bytes = (2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
                       * self._model.dtype.itemsize)
        self._blocks = KV_BYTES // token_bytes // PAGE
        return f"transformers {transformers.__version__}, {self._way}"

    def prepare(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        if self._way == "expanded":
            return partial(self._expanded, workload)
        if self._way == "batching":
            return self._batching(workload, variant)
        return partial(run_rounds, workload, variant, self._generate)

    @torch.inference_mode()
    def _generate(self, prompts: list[Tokens], outputs: int, cache: DynamicCache | None = None) -> list[Tokens]:
        ids = torch.tensor(prompts)
        given = {} if cache is None else {"past_key_values": cache}
        output = self._model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=options(outputs),
                                      **given)
        found: list[Tokens] = output[:, ids.shape[1] :].tolist()
        return found

    @torch.inference_mode()
    def _expanded(self, workload: Workload) -> list[list[Tokens]]:
        """Each level's KV is computed once and repeated for the rows below; chats keep their KV between rounds."""
        shape = workload.shape
        cache = DynamicCache(config=self._model.config)
        rows = 1
        for (number, _), segments in list(zip(shape.levels, workload.segments, strict=True))[:-1]:
            if number > rows:
                cache.batch_repeat_interleave(number // rows)
            rows = number
            self._model(torch.tensor(segments), past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(shape.requests // rows)

        def generate(prompts: list[Tokens], outputs: int) -> list[Tokens]:
            return self._generate(prompts, outputs, cache)

        return run_rounds(workload, "plain", generate)

    def _batching(self, workload: Workload, variant: str) -> Callable[[], list[list[Tokens]]]:
        """A manager for each run: made before, and gone after it, so that it does nothing while others run."""
        configuration = ContinuousBatchingConfig(page_size=PAGE, num_blocks=self._blocks,
                                                 max_batch_tokens=STEP_TOKENS, use_cuda_graph=False)
        opened = self._opened = ExitStack()
        opened.enter_context(torch.no_grad())  # it does not work in inference mode
        manager = opened.enter_context(self._model.continuous_batching_context_manager(
            generation_config=options(workload.shape.outputs), continuous_batching_config=configuration, block=True,
            timeout=5))
        numbers = count(0)

        def generate(prompts: list[Tokens], outputs: int) -> list[Tokens]:
            asked = [f"request {next(numbers)}" for _ in prompts]
            for name, prompt in zip(asked, prompts, strict=True):
                manager.add_request(prompt, request_id=name, max_new_tokens=outputs)
            found: dict[str, Tokens] = {}
            while len(found) < len(asked):
                result = manager.get_result(timeout=POLL_SECONDS)
                if result is None and not manager.is_running():
                    raise RuntimeError("continuous batching has stopped")
                if result is not None and result.error:
                    raise RuntimeError(result.error)
                if result is not None and result.is_finished():
                    found[result.request_id] = list(result.generated_tokens)
            return [found[name] for name in asked]

        return partial(run_rounds, workload, variant, generate)

    def finish(self) -> None:
        self._opened.close()


def options(outputs: int) -> GenerationConfig:
    """Greedy, exactly so many tokens."""
    return GenerationConfig(max_new_tokens=outputs, min_new_tokens=outputs,  # type: ignore[no-untyped-call]
                            do_sample=False, eos_token_id=None, pad_token_id=2)


if __name__ == "__main__":
    serve(Transformers(sys.argv[1]))
