"""The whole engine on a model in the shape of Llama 3 8B with random weights: tokens per second, and where time goes.

The same calls with and without a shared prefix in the tree, with steps replayed from CUDA graphs or launched one by
one, and with the next step planned while one runs or not.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import torch
from findings import Report, stop_late
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, SamplingOptions
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.attention_hook import IMPLEMENTATION
from semlang.backend.torch_engine.device_runner import DeviceTorchRunner
from semlang.backend.torch_engine.step_graph import CudaGraphs
from transformers import AutoModelForCausalLM, LlamaConfig

LLAMA_3_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "max_position_embeddings": 32768,
}  # fmt: skip
SMALL = {
    "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3,
    "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 3000, "max_position_embeddings": 256,
}  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """`rows` calls of `count` tokens each, after a prefix and `own` tokens of theirs."""

    rows: int
    prefix: int
    own: int
    count: int


@dataclass(frozen=True)
class Way:
    """How the engine works. `shared`: whether it may see that the prefixes are equal."""

    shared: bool = True
    recorded: bool = True
    overlap: bool = True
    temperature: float = 0.0

    @property
    def name(self) -> str:
        """What is left out."""
        parts = [] if self.shared else ["copied prefix"]
        parts += [] if self.recorded else ["no CUDA graphs"]
        parts += [] if self.overlap else ["no overlap"]
        parts += [f"temperature {self.temperature}"] if self.temperature else []
        return ", ".join(parts) or "all on"


WORKLOADS = (Workload(64, 4096, 128, 128), Workload(16, 1024, 128, 128), Workload(256, 1024, 64, 64),
             Workload(1, 512, 16, 128), Workload(64, 16384, 128, 64))
WAYS = (Way(), Way(overlap=False), Way(recorded=False), Way(recorded=False, overlap=False), Way(shared=False),
        Way(temperature=0.8))


def engine(report: Report, device: torch.device) -> None:
    """The table of all workloads and ways."""
    cuda = device.type == "cuda"
    model = random_model(LLAMA_3_8B if cuda else SMALL, device)
    config = model.config
    report.line(f"\n## The engine: {config.num_hidden_layers} layers of {config.hidden_size}, {model.dtype}, random "
                "weights\n")
    report.line("Times in ms. `prompt`: until the first token of the last call; `step`: of the steps after that; "
                "`waiting`: of it, the host for the device.\n")
    report.line("| calls | prefix | own | tokens | | tokens/s decoding | tokens/s in all | prompt | step | waiting | "
                "replayed steps |")
    report.line("|" + "---|" * 11)
    for workload in WORKLOADS if cuda else (Workload(3, 24, 4, 5),):
        for way in WAYS if cuda else (Way(), Way(recorded=False, overlap=False), Way(shared=False)):
            if stop_late(report):
                return
            where = f"| {workload.rows} | {workload.prefix} | {workload.own} | {workload.count} | {way.name} |"
            try:
                found = measure(model, workload, way, device)
            except Exception as error:  # memory, above all, when nothing is shared
                report.line(f"{where} {type(error).__name__}: {str(error).splitlines()[0]} | | | | | |")
                continue
            finally:
                torch.cuda.empty_cache() if cuda else None
            report.line(f"{where} {found['decoding']:.0f} | {found['all']:.0f} | {found['prompt'] * 1e3:.1f} | "
                        f"{found['step'] * 1e3:.2f} | {found['waiting'] * 1e3:.2f} | {found['replayed']:.0%} |")
            report.row(workload=vars(workload), way=vars(way), **found)


def random_model(sizes: dict[str, int], device: torch.device) -> Any:
    """A Llama with random weights, made on the device."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.manual_seed(0)
    config = LlamaConfig(**sizes, rope_theta=500000.0, tie_word_embeddings=False, pad_token_id=0)
    auto: Any = AutoModelForCausalLM
    with torch.device(device):
        model = auto.from_config(config, attn_implementation=IMPLEMENTATION, dtype=dtype)
    model.requires_grad_(False)
    model.train(False)
    return model


def measure(model: Any, workload: Workload, way: Way, device: torch.device) -> dict[str, Any]:
    """One run, after a short one that compiles and records what is needed."""
    cuda = device.type == "cuda"
    graphs = CudaGraphs() if cuda and way.recorded else None
    runner = DeviceTorchRunner(model, graphs=graphs, compiled=cuda, rows=workload.rows)
    tokens = workload.rows * (workload.own + workload.count + 16)
    tokens += workload.prefix * (1 if way.shared else workload.rows) + 4096
    made = StepEngine(runner, embedded_tokenizer(), name="gpu", kv_slots=tokens, prefix_cache=way.shared,
                      max_batch=workload.rows, max_step_tokens=8192 if cuda else 64, overlap=way.overlap,
                      speculative_fills=False)
    try:
        decode(made, Workload(workload.rows, 32, 4, 4), way, 1)
        return {**decode(made, workload, way, 1 + 4 * workload.rows), "kernels": made.stats().kernels}
    finally:
        made.close()


def decode(made: StepEngine, workload: Workload, way: Way, first: int) -> dict[str, Any]:
    """Seconds of the run, by the times at which the engine gave its first and last tokens."""
    done = threading.Semaphore(0)
    errors: list[Exception] = []
    started: list[float] = []

    def fail(error: Exception) -> None:
        errors.append(error)
        done.release()

    before, eager, replayed, waited = made.stats(), *counters(made)
    begin = time.perf_counter()
    with made.hold():
        parent = ROOT
        prefix = [300 + number % 997 for number in range(workload.prefix)]
        if way.shared:
            made.fill(prefix, first, ROOT)
            parent = first
        for row in range(workload.rows):
            own = [400 + (7 * row + number) % 991 for number in range(workload.own)]
            context = first + 1 + 2 * row
            made.fill(own if way.shared else prefix + own, context, parent)
            key = row.to_bytes(16, "little") if way.temperature else None
            options = SamplingOptions(workload.count, temperature=way.temperature, stream_key=key, ignore_eos=True)
            seen = First(started)
            made.generate(options, context + 1, context, Callbacks(lambda _: done.release(), fail, seen))
    for _ in range(workload.rows):
        done.acquire()
    total = time.perf_counter() - begin
    for context in range(first, first + 1 + 2 * workload.rows):
        if way.shared or context != first:
            made.free_context(context)
    if errors:
        raise errors[0]
    stats, (eager_after, replayed_after, waited_after) = made.stats(), counters(made)
    prompt = max(started, default=begin) - begin
    steps = stats.engine_steps - before.engine_steps
    launched, replays = eager_after - eager, replayed_after - replayed
    return {"decoding": workload.rows * (workload.count - 1) / max(total - prompt, 1e-9),
            "all": workload.rows * workload.count / total, "prompt": prompt, "total": total, "steps": steps,
            "step": (total - prompt) / max(1, workload.count - 1), "waiting": (waited_after - waited) / max(1, steps),
            "replayed": replays / max(1, launched + replays)}


class First:
    """Notes when the first text of an output comes."""

    def __init__(self, times: list[float]) -> None:
        self._times, self._seen = times, False

    def __call__(self, text: str) -> None:
        if not self._seen:
            self._seen = True
            self._times.append(time.perf_counter())


def counters(made: StepEngine) -> tuple[int, int, float]:
    """Launched and replayed steps, and the seconds that the host has waited for them."""
    runner: Any = made._runner
    overlap = made._overlap
    return runner.eager_steps, runner.replayed_steps, overlap.waited_seconds if overlap is not None else 0.0
