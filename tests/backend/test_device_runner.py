"""The runner for devices without one: recorded steps replay on the same buffers, with the logits of launched steps."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from semlang.backend.device_runner import Following, TokenChoices
from semlang.backend.engine import ROOT, Callbacks, Generation, SamplingOptions
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.sampling import TokenChoice
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.backend.torch_engine.step_buffers import StepBuffers, padded_size
from transformers import AutoConfig, AutoModelForCausalLM

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from byte_tokenizer import ByteTokenizer
from recorded_graphs import RecordedGraphs
from semlang.backend.torch_engine.device_runner import DeviceTorchRunner

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

COMMON = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128,
          "pad_token_id": 0}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {}, "qwen3": {},
    "gemma2": {"sliding_window": 8, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16},
}
OPTIONS = [SamplingOptions(9, ignore_eos=True), SamplingOptions(5, ignore_eos=True),
           SamplingOptions(12, temperature=0.9, top_p=0.8, stream_key=b"k", ignore_eos=True),
           SamplingOptions(4, temperature=2.0, top_k=9, stream_key=b"m"), SamplingOptions(6, choices=("abc", "abd"))]
GREEDY = TokenChoice(SamplingOptions(), 0.0, None)


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Any]:
    def make(name: str) -> Any:
        torch.manual_seed(0)
        auto: Any = AutoModelForCausalLM
        auto.from_config(AutoConfig.for_model(name, **{**COMMON, **MODELS[name]})).save_pretrained(tmp_path)
        return load_model(str(tmp_path), dtype="float32")

    return make


def device_runner(model: Any, graphs: RecordedGraphs | None, rows: int = 8, slots: int = 160) -> DeviceTorchRunner:
    """With the Triton kernels in the interpreter; what nobody has written is NaN."""
    runner = DeviceTorchRunner(model, compiled=False, graphs=graphs, rows=rows)
    runner._triton = True
    runner.allocate(slots)
    for pool in runner._triton_pools:
        pool.keys.fill_(torch.nan)
        pool.values.fill_(torch.nan)
    return runner


class ByteTokens(ByteTokenizer):
    """Tokens of one byte each, as many as the models have."""

    vocabulary_size = 97
    eos_ids = frozenset({96})
    bos_id: int | None = 2

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id + 27]) if token_id < 96 else b""


class Tree:
    """A prompt with branches below it, which grow by a token in each step."""

    def __init__(self, branches: int) -> None:
        random = np.random.default_rng(0)
        self.ids, self.slots = random.integers(3, 97, 160), random.permutation(160)
        self.root = KVRun(0, self.slots[:20], 0)
        self.used = 20
        self.branches: list[list[int]] = [[] for _ in range(branches)]

    def prompt(self) -> StepBatch:
        return StepBatch((), (Segment(self.ids[:20], self.root.slots, 0, (), True),))

    def grown(self, which: list[int]) -> StepBatch:
        """The branches `which` get one token more each."""
        runs, segments = [self.root], []
        for branch in which:
            own = self.branches[branch]
            ancestors: tuple[int, ...] = (0,)
            if own:
                runs.append(KVRun(branch + 1, self.slots[own], 20))
                ancestors = (0, len(runs) - 1)
            place = slice(self.used, self.used + 1)
            segments.append(Segment(self.ids[place], self.slots[place], 20 + len(own), ancestors, True))
            own.append(self.used)
            self.used += 1
        return StepBatch(tuple(runs), tuple(segments))


STEPS = [[0, 1, 2], [0, 1, 2], [2, 0], [0], [0, 1, 2, 3, 4], [4, 3]]


@pytest.mark.parametrize("name", MODELS)
def test_replayed_steps_have_the_logits_of_launched_ones(
        name: str, model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = model(name)
    plain = TorchRunner(loaded, compiled=False)
    plain.allocate(160)
    graphs = RecordedGraphs(monkeypatch)
    runner = device_runner(loaded, graphs)
    assert graphs.captured == 1 and "recorded steps of up to 8 rows" in runner.kernels
    tree, other = Tree(5), Tree(5)
    for batch, same in [(tree.prompt(), other.prompt()), *((tree.grown(rows), other.grown(rows)) for rows in STEPS)]:
        expected, found = plain.run(same), runner.run(batch)
        assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-5
        assert runner.kv_tokens_read == plain.kv_tokens_read
    assert runner.eager_steps == 1 and runner.replayed_steps == graphs.replayed == len(STEPS)
    assert graphs.captured == 4, "one graph each for 1, 2, 4 and 8 rows"


def test_a_step_takes_its_tokens_from_the_one_before(
        model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = model("llama")
    found: list[list[list[int]]] = []
    for graphs in (None, RecordedGraphs(monkeypatch)):
        runner = device_runner(loaded, graphs)
        tree = Tree(3)
        first = runner.submit(tree.prompt(), TokenChoices.of([GREEDY] * 3, [0, 0, 0], 97))
        pending, tokens = first, [first.tokens().tolist()]
        batch = tree.grown([0, 1, 2])
        for _ in range(3):
            batch.token_ids[:] = 96  # not read
            choices = TokenChoices.of([GREEDY] * 3, [0, 1, 2], 97)
            pending = runner.submit(batch, choices, Following(pending, np.array([2, 0, 1])))
            batch = batch.following(np.zeros(3, np.int64), tree.slots[tree.used : tree.used + 3])
            tree.used += 3
            tokens.append(pending.tokens().tolist())
        found.append(tokens)
        again, known = Tree(3), [np.array(part)[[2, 0, 1]] for part in tokens]
        plain = TorchRunner(loaded, compiled=False)
        plain.allocate(160)
        plain.run(again.prompt())
        batch = again.grown([0, 1, 2])
        for number in range(3):
            batch.token_ids[:] = known[number]
            assert plain.run(batch).argmax(axis=1).tolist() == tokens[number + 1]
            batch = batch.following(known[number + 1], again.slots[again.used : again.used + 3])
            again.used += 3
    assert found[0] == found[1]


def test_buffers_that_move_are_recorded_anew(model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = RecordedGraphs(monkeypatch)
    runner = device_runner(model("llama"), graphs)
    tree = Tree(2)
    runner.run(tree.prompt())
    before = runner.run(tree.grown([0, 1]))
    captured = graphs.captured
    for place in runner._triton_pools._recorded.values():
        place.data = torch.empty(0, dtype=torch.int32)
    tree.used -= 2
    for branch in tree.branches:
        branch.clear()
    assert np.array_equal(runner.run(tree.grown([0, 1])), before)
    assert graphs.captured == captured + 1


def test_what_cannot_be_recorded_is_launched_and_named(model: Callable[[str], Any]) -> None:
    class Refusing:
        def capture(self, work: Callable[[], None]) -> Any:
            work()
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    loaded = model("llama")
    runner = DeviceTorchRunner(loaded, compiled=False, graphs=Refusing(), rows=4)
    runner._triton = True
    runner.allocate(160)
    assert runner.kernels.endswith("no recorded steps: RuntimeError: operation not permitted when stream is capturing")
    tree = Tree(1)
    runner.run(tree.prompt())
    runner.run(tree.grown([0]))
    assert runner.eager_steps == 2 and runner.replayed_steps == 0
    plain = DeviceTorchRunner(loaded, compiled=False, graphs=Refusing())
    plain.allocate(160)
    assert "no recorded steps: attention in plain torch launches what the tree asks for" in plain.kernels


def test_steps_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double itself: a number from the host, a shape and an address that change are errors."""
    graphs = RecordedGraphs(monkeypatch)
    state: dict[str, Any] = {"number": 2.0, "size": 3, "buffer": torch.ones(4)}

    def work() -> None:
        state["buffer"][: state["size"]].mul_(state["number"])

    graph = graphs.capture(work)
    state["buffer"].fill_(5.0)
    graph.replay()
    for name, value in (("number", 3.0), ("size", 2), ("buffer", torch.ones(4))):
        old = state[name]
        state[name] = value
        with pytest.raises(AssertionError, match="a replay would do"):
            graph.replay()
        state[name] = old


def test_numbers_that_the_host_looks_at_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = RecordedGraphs(monkeypatch)
    numbers = torch.ones(3)

    def work() -> None:
        numbers.mul_(2.0 if numbers.max() > 2 else 3.0)

    with pytest.raises(AssertionError, match="the host looks"):
        graphs.capture(work)


def test_bad_steps_are_refused(model: Callable[[str], Any]) -> None:
    runner = device_runner(model("llama"), None)
    none = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="no token 97"):
        runner.submit(StepBatch((), (Segment(none + 97, none, 0, (), True),)))
    with pytest.raises(ValueError, match="context length of 128"):
        runner.submit(StepBatch((), (Segment(none, none, 128, (), True),)))
    assert runner.submit(StepBatch((), ())).logits().shape == (0, 97)


def test_rows_of_padding_have_no_slot() -> None:
    buffers = StepBuffers(4, 7, torch.float32, torch.device("cpu"))
    buffers.inputs.fill_(9)
    batch = StepBatch((), (Segment(np.array([5]), np.array([11]), 3, (), True),))
    buffers.fill(batch, 2, None)
    assert buffers.inputs.tolist() == [[5, 0, 9, 9], [3, 0, 9, 9], [11, -1, 9, 9]]
    assert [padded_size(rows, (1, 2, 4)) for rows in (1, 2, 3, 5)] == [1, 2, 4, None]


def test_an_engine_over_it_gives_the_same_outputs(
        model: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replayed steps, tokens chosen beside the logits, steps ahead of the host: nothing of it changes a token."""
    loaded = model("llama")
    plain = TorchRunner(loaded, compiled=False)
    runner = device_runner(loaded, RecordedGraphs(monkeypatch))
    outputs = []
    for each in (plain, runner):
        engine = StepEngine(each, ByteTokens(), name="x", kv_slots=128, page_size=4, max_batch=8, max_step_tokens=32)
        found: dict[int, Any] = {}
        done = threading.Semaphore(0)

        def callbacks(call: int, found: dict[int, Any] = found, done: threading.Semaphore = done) -> Callbacks:
            def settle(outcome: Any) -> None:
                found[call] = outcome
                done.release()

            return Callbacks(settle, settle)

        try:
            with engine.hold():
                engine.fill(list(range(5, 20)), 1, ROOT)
                for call, options in enumerate(OPTIONS):
                    engine.fill([30 + call] * (call + 1), 10 + call, 1)
                    engine.generate(options, 20 + call, 10 + call, callbacks(call))
            for _ in OPTIONS:
                assert done.acquire(timeout=60)
            engine.check_integrity()
            assert ("recorded" in engine.stats().kernels) == (each is runner)
        finally:
            engine.close()
        outputs.append(found)
        if each is runner:
            assert engine._overlap is not None and engine._overlap.steps_ahead > 3 and runner.replayed_steps > 5
    assert outputs[0] == outputs[1] and all(isinstance(one, Generation) for one in outputs[1].values())
