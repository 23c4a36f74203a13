"""Calls that need ten times the KV that the torch engine has: every one ends once, with the tokens of a large pool."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_models import WAYS, Answers, engine, random_tokens
from semlang.backend.engine import ROOT, SamplingOptions
from semlang.kernels.cpu.library import find_compiler

SOURCE = Path(__file__).parents[2] / "benchmarks" / "oversubscription.py"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bench() -> Any:
    """The benchmark, its prompts cut to what the tiny models hold."""
    specification = importlib.util.spec_from_file_location("oversubscription", SOURCE)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["oversubscription"] = module  # its dataclasses look there
    specification.loader.exec_module(module)
    yield module
    del sys.modules["oversubscription"]


@pytest.mark.parametrize("way", WAYS)
def test_no_call_is_lost_at_ten_times_the_pool(way: str, bench: Any) -> None:
    """Mixed objectives; then with steps that fail, whose calls are sent again."""
    if way != "torch" and find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    asked = [bench.Request(one.parent, random_tokens(number, 5 + len(one.tokens) % 25), one.priority)
             for number, one in enumerate(bench.requests(45))]
    need = bench.kv_tokens(asked)
    wanted = bench.run(engine("llama", way, kv_slots=2 * need), asked)
    assert len(wanted.outputs) == len(asked) and wanted.stats.preemptions == wanted.failures == 0
    for failing in ((), (4, 21, 22, 60)):
        found = bench.run(engine("llama", way, kv_slots=need // 10), asked, failing)
        assert found.outputs == wanted.outputs
        assert (found.failures > 0) == bool(failing)
        assert found.stats.preemptions > 0 and found.stats.refilled_tokens > 0
        assert found.stats.peak_kv_tokens <= found.stats.peak_kv_slots <= need // 10


def test_memory_is_told_and_shared_pages_count_once() -> None:
    made, collected = engine("llama", "torch" if find_compiler() is None else "decoder", page_size=16), Answers()
    try:
        with made.hold():
            made.fill(random_tokens(1, 63), 1, ROOT)  # four pages with BOS
            for number in range(8):
                made.fill(random_tokens(2 + number, 3), 10 + number, 1)
                made.generate(SamplingOptions(4, ignore_eos=True), 20 + number, 10 + number,
                              collected.callbacks(number))
        collected.wait(*range(8))
        stats = made.stats()
        assert stats.kv_bytes_per_token == 3 * 2 * (16 + 16) * 4  # layers, KV heads, key and value, float32
        assert 64 + 8 * (3 + 2) <= stats.peak_kv_tokens <= 64 + 8 * (3 + 4)
        assert stats.peak_kv_slots == 64 + 8 * 16
        assert stats.filled_tokens == 63 + 8 * 3 and stats.prompt_tokens == 8 * 66
    finally:
        made.close()
