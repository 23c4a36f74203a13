"""What a step costs on the host: processor time of everything in Python between two calls of the model.

The model is one that returns at once, so what is left is scheduling, the tree, the plan of attention, the choice of
tokens and the text. `host` is all of it but the plan of attention (that of the C++ kernels, for one window), `plan`
is that. Both are medians over the steps of a case, in microseconds, by the engine thread's own clock, so other work
on the machine disturbs them little. `choose` is the part of `host` in which tokens are chosen and appended.

    python benchmarks/host_step.py [--case NAME]… [--vocabulary 32000] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import ROOT, Callbacks, EngineError, Generation, SamplingOptions
from semlang.backend.model_runner import StepBatch
from semlang.backend.step_engine import StepEngine
from semlang.ir.types import BOOL, Enum, EnumMember, Field, Int, List, Record, Text
from semlang.kernels.cpu.plan_cache import PlanCache

GROUP = 2
"""Query heads of a KV head."""
FINDING = Record("Finding", (
    Field("service", Text(6)),
    Field("severity", Enum("Severity", tuple(EnumMember(name, name) for name in ("critical", "low")))),
    Field("evidence", List(Text(6), 2)), Field("minutes", Int(0, 90)), Field("resolved", BOOL)))
ids = itertools.count(1)


class WideTokenizer:
    """The embedded tokenizer with words made up for the rest of `vocabulary_size` ids."""

    def __init__(self, vocabulary_size: int) -> None:
        self._inner = embedded_tokenizer()
        self.vocabulary_size = vocabulary_size
        self.eos_ids = self._inner.eos_ids
        self.bos_id = self._inner.bos_id
        self.has_dummy_prefix = False
        self.longest_token_bytes = 12
        self.digest = f"wide {vocabulary_size}"
        known = [self._inner.token_bytes(i) for i in range(min(vocabulary_size, self._inner.vocabulary_size))]
        self._bytes = known + [b" w%d" % i for i in range(len(known), vocabulary_size)]

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id]

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        return self._inner.encode_piece(text, first=first)

    encode_scaffold = role_scaffold = decode = None


@dataclass
class Samples:
    """Microseconds of the steps that a case counts."""

    host: list[float] = field(default_factory=list)
    plan: list[float] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0


class InstantRunner:
    """A `ModelRunner` that answers with random numbers made in advance, and plans attention as the CPU pools do."""

    kernels = "none"
    kv_bytes_per_token = 1
    context_length = 1 << 20

    def __init__(self, vocabulary_size: int, rows: int) -> None:
        self.vocabulary_size = vocabulary_size
        self._logits = np.random.default_rng(0).normal(scale=3, size=(rows, vocabulary_size)).astype(np.float32)
        self._plans = PlanCache()
        self.counts: Callable[[StepBatch], bool] = lambda _: False
        self.samples = Samples()
        self._left: float | None = None
        self.profile: cProfile.Profile | None = None

    def allocate(self, slots: int) -> None:
        pass

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        entered = time.thread_time()
        if self.profile is not None:
            self.profile.disable()
        if self._left is not None:
            self.samples.host.append((entered - self._left) * 1e6)
        self.samples.steps += 1
        self.samples.tokens += len(batch.token_ids)
        begun = time.thread_time()
        self._plans.begin(batch)
        self._plans.plan(GROUP, None)
        planned = time.thread_time()
        wanted = len(batch.wanted)
        if self.counts(batch):
            self.samples.plan.append((planned - begun) * 1e6)
            if self.profile is not None:
                self.profile.enable()
            self._left = time.thread_time()
        else:
            self._left = None
        return self._logits[:wanted]


Call = tuple[int, SamplingOptions]
"""A context and how to go on from it."""


def run(engine: StepEngine, make: Callable[[], Sequence[Call]]) -> list[Generation]:
    """Run the calls that `make` asks for, all of them from one moment on."""
    done = threading.Semaphore(0)
    outputs: list[Generation] = []
    errors: list[EngineError] = []

    def finish(output: Generation) -> None:
        outputs.append(output)
        done.release()

    def fail(error: EngineError) -> None:
        errors.append(error)
        done.release()

    with engine.hold():
        calls = make()
        for parent, options in calls:
            engine.generate(options, next(ids), parent, Callbacks(finish, fail))
    for _ in calls:
        done.acquire()
    if errors:
        raise errors[0]
    return outputs


class Prompts:
    """Random prompts."""

    def __init__(self, engine: StepEngine) -> None:
        self._engine = engine
        self._random = random.Random(1)

    def fill(self, tokens: int, parent: int = ROOT) -> int:
        context = next(ids)
        self._engine.fill([self._random.randrange(20, 1700) for _ in range(tokens)], context, parent)
        return context


def decode(rows: int, tokens: int, **options: object) -> Callable[[Prompts], list[Call]]:
    """`rows` calls over unrelated prompts of 256 tokens."""
    def make(prompts: Prompts) -> list[Call]:
        return [(prompts.fill(256), sampling(tokens, i, **options)) for i in range(rows)]
    return make


def tree(tokens: int) -> Callable[[Prompts], list[Call]]:
    """64 leaves of 128 tokens below 8 prompts of 512 below one of 2048."""
    def make(prompts: Prompts) -> list[Call]:
        root = prompts.fill(2048)
        middle = [prompts.fill(512, root) for _ in range(8)]
        return [(prompts.fill(128, parent), sampling(tokens, i)) for i, parent in enumerate(middle * 8)]
    return make


def prompts_only(tokens: int) -> Callable[[Prompts], list[Call]]:
    """One long prompt."""
    return lambda prompts: [(prompts.fill(tokens), sampling(1, 0))]


def beside_prompts(rows: int) -> Callable[[Prompts], list[Call]]:
    """Calls that decode while long prompts are computed in chunks."""
    def make(prompts: Prompts) -> list[Call]:
        short = [(prompts.fill(16), sampling(100, i)) for i in range(rows)]
        return short + [(prompts.fill(8192), sampling(1, i)) for i in range(4)]
    return make


def findings(rows: int) -> Callable[[Prompts], list[Call]]:
    """Records under a grammar."""
    def make(prompts: Prompts) -> list[Call]:
        return [(prompts.fill(256), SamplingOptions(max_tokens=200, type=FINDING)) for _ in range(rows)]
    return make


def sampling(tokens: int, number: int, **options: object) -> SamplingOptions:
    key = number.to_bytes(16, "little") if options.get("temperature") else None
    return SamplingOptions(max_tokens=tokens, ignore_eos=True, stream_key=key, **options)  # type: ignore[arg-type]


def only_decodes(batch: StepBatch) -> bool:
    return len(batch.token_ids) == len(batch.wanted)


def has_prompts(batch: StepBatch) -> bool:
    return len(batch.token_ids) > len(batch.wanted)


@dataclass(frozen=True)
class Case:
    """Calls, and which of their steps count."""

    make: Callable[[Prompts], list[Call]]
    counts: Callable[[StepBatch], bool] = only_decodes


CASES = {
    "decode 1": Case(decode(1, 200)),
    "decode 8": Case(decode(8, 200)),
    "decode 32": Case(decode(32, 200)),
    "decode 64": Case(decode(64, 100)),
    "tree of 64": Case(tree(100)),
    "sampled 32": Case(decode(32, 50, temperature=0.8)),
    "top-k 32": Case(decode(32, 50, temperature=0.8, top_k=50)),
    "top-p 32": Case(decode(32, 20, temperature=0.8, top_p=0.9)),
    "stop, words 32": Case(decode(32, 200, stop=("\n\nQ:", "END"), max_words=10_000)),
    "prompt chunks": Case(prompts_only(16 * 512), has_prompts),
    "32 beside chunks": Case(beside_prompts(32), has_prompts),
    "records 1": Case(findings(1), lambda _: True),
    "records 32": Case(findings(32), lambda _: True),
}


def measure(case: Case, vocabulary_size: int, profile: bool) -> Samples:
    """The steps of a case, the second time it is run."""
    runner = InstantRunner(vocabulary_size, 256)
    engine = StepEngine(runner, WideTokenizer(vocabulary_size), name="host", kv_slots=1 << 17,  # type: ignore[arg-type]
                        max_step_tokens=512)
    try:
        prompts = Prompts(engine)
        run(engine, lambda: case.make(prompts))
        runner.counts, runner.samples = case.counts, Samples()
        if profile:
            runner.profile = cProfile.Profile(time.thread_time)
        run(engine, lambda: case.make(prompts))
        runner.counts = lambda _: False
    finally:
        engine.close()
    if runner.profile is not None:
        pstats.Stats(runner.profile).sort_stats("tottime").print_stats(25)
    return runner.samples


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--profile", action="store_true", help="print where the time goes (it takes longer then)")
    options = parser.parse_args()
    print("| case | steps | tokens a step | host, µs | plan, µs | both |\n|---|---|---|---|---|---|")
    for name in options.case or CASES:
        samples = measure(CASES[name], options.vocabulary, options.profile)
        host, plan = statistics.median(samples.host or [0]), statistics.median(samples.plan or [0])
        print(f"| {name} | {samples.steps} | {samples.tokens / samples.steps:.1f} | {host:.0f} | {plan:.0f} | "
              f"{host + plan:.0f} |", flush=True)


if __name__ == "__main__":
    main()
