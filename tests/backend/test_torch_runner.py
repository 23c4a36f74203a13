"""The torch runner gives the logits of plain `transformers`, for every architecture that it calls verified."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.native_observation import NotNative
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.backend.torch_engine.self_check import VERIFIED
from semlang.kernels.cpu.library import find_compiler
from tiny_models import MODELS, Pair, Slots, assert_equal, pair
from transformers import GenerationConfig

REQUIRED = list(MODELS)[:8]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_verified_architecture_is_here() -> None:
    assert set(MODELS) == VERIFIED


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_plain_transformers(name: str, compiled: bool, tmp_path: Path) -> None:
    models = pair(name, tmp_path, compiled=compiled)
    run, slots, random = models.runner.run, Slots(), np.random.default_rng(0)
    tokens = [random.integers(3, 97, count) for count in (21, 7, 1, 4, 1, 1, 15, 1, 9)]
    prefix, long, single, short, *new = tokens

    # Chunked prefill: the second chunk starts in mid-node.
    own = slots.take(21)
    found = run(StepBatch((), (Segment(prefix[:13], own[:13], 0, (), True),)))
    assert_equal(found, [models.logits(prefix[:13])])
    found = run(StepBatch((KVRun(1, own[:13], 0),), (Segment(prefix[13:], own[13:], 13, (0,), True),)))
    assert_equal(found, [models.logits(prefix)])

    # Three forks of the prefix; one of them wants no logits.
    root = KVRun(1, own, 0)
    places = [slots.take(len(branch)) for branch in (long, single, short)]
    segments = [
        Segment(branch, place, 21, (0,), branch is not single)
        for branch, place in zip((long, single, short), places, strict=True)
    ]
    found = run(StepBatch((root,), tuple(segments)))
    assert_equal(found, [models.logits(prefix, long), models.logits(prefix, short)])

    # Third level: two decodes, a chunk and a decode under different branches, and an unrelated prompt.
    runs = (root, *(KVRun(number + 2, place, 21) for number, place in enumerate(places)))
    below = [(0, 1), (0, 1), (0, 2), (0, 3), ()]
    starts = [28, 28, 22, 25, 0]
    segments = [
        Segment(part, slots.take(len(part)), start, ancestors, True)
        for part, start, ancestors in zip(new, starts, below, strict=True)
    ]
    found = run(StepBatch(runs, tuple(segments)))
    paths = [(prefix, long), (prefix, long), (prefix, single), (prefix, short), ()]
    assert_equal(found, [models.logits(*path, part) for path, part in zip(paths, new, strict=True)])

    # A step that nobody wants logits of.
    found = run(StepBatch((root,), (Segment(single, slots.take(1), 21, (0,), False),)))
    assert found.shape == (0, 97)


def greedy(
    runner: TorchRunner, prefix: NDArray[np.int64], suffixes: list[NDArray[np.int64]], count: int
) -> list[list[int]]:
    """Decode `count` tokens after prefix + each suffix, all in one batch."""
    slots = Slots()
    root = KVRun(0, slots.take(len(prefix)), 0)
    runner.run(StepBatch((), (Segment(prefix, root.slots, 0, (), False),)))
    own: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in suffixes]
    outputs: list[list[int]] = [[] for _ in suffixes]
    for _ in range(count):
        runs = [root, *(KVRun(1 + i, held, len(prefix)) for i, held in enumerate(own))]
        segments = []
        for i, held in enumerate(own):
            fresh = np.array(outputs[i][-1:], np.int64) if outputs[i] else suffixes[i]
            own[i] = np.concatenate([held, slots.take(len(fresh))])
            segments.append(Segment(fresh, own[i][len(held) :], len(prefix) + len(held), (0, i + 1), True))
        for output, row in zip(outputs, runner.run(StepBatch(tuple(runs), tuple(segments))), strict=True):
            output.append(int(row.argmax()))
    return outputs


@pytest.mark.parametrize("name", REQUIRED)
def test_greedy_decoding_equals_generate(name: str, tmp_path: Path) -> None:
    models = pair(name, tmp_path)
    random = np.random.default_rng(2)
    prefix = random.integers(3, 97, 19)
    suffixes = [random.integers(3, 97, count) for count in (1, 5, 12)]
    found = greedy(models.runner, prefix, suffixes, 12)
    models.plain.generation_config.eos_token_id = None  # what the options leave out comes from here
    configuration: Any = GenerationConfig
    options = configuration(max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None)
    for output, suffix in zip(found, suffixes, strict=True):
        ids = torch.from_numpy(np.concatenate([prefix, suffix])[None])
        generated = models.plain.generate(ids, attention_mask=torch.ones_like(ids), generation_config=options)
        assert output == generated[0, len(prefix) + len(suffix) :].tolist()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair("llama", tmp_path_factory.mktemp("llama"))


def test_a_shared_prefix_is_read_once_per_step(llama: Pair) -> None:
    prefix, count = 40, 8
    slots = Slots()
    ids = np.arange(3, 3 + prefix)
    root = KVRun(0, slots.take(prefix), 0)
    llama.runner.run(StepBatch((), (Segment(ids, root.slots, 0, (), False),)))
    assert llama.runner.kv_tokens_read == prefix
    segments = [Segment(np.array([5 + i]), slots.take(1), prefix, (0,), True) for i in range(count)]
    llama.runner.run(StepBatch((root,), tuple(segments)))
    assert llama.runner.kv_tokens_read == prefix + count


def test_logits_do_not_depend_on_the_rest_of_the_batch(llama: Pair) -> None:
    random = np.random.default_rng(4)
    slots = Slots()
    parts = [random.integers(3, 97, count) for count in (5, 17, 1, 30)]
    segments = [Segment(part, slots.take(len(part)), 0, (), True) for part in parts]
    together = llama.runner.run(StepBatch((), tuple(segments)))
    for row, segment in zip(together, segments, strict=True):
        assert np.allclose(llama.runner.run(StepBatch((), (segment,)))[0], row, rtol=1e-5, atol=1e-5)


def test_two_runners_in_one_process_keep_apart(tmp_path: Path) -> None:
    models = {name: pair(name, tmp_path / name) for name in ("mistral", "gpt2")}
    prefix, rest = np.arange(5, 25), np.arange(30, 33)
    slots = Slots()
    root = KVRun(0, slots.take(20), 0)
    for each in models.values():
        each.runner.run(StepBatch((), (Segment(prefix, root.slots, 0, (), False),)))
    for each in models.values():
        found = each.runner.run(StepBatch((root,), (Segment(rest, slots.take(3), 20, (0,), True),)))
        assert_equal(found, [each.logits(prefix, rest)])


def test_an_empty_step(llama: Pair) -> None:
    assert llama.runner.run(StepBatch((), ())).shape == (0, 97)


def test_bad_segments(llama: Pair) -> None:
    none = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="no logits"):
        llama.runner.run(StepBatch((), (Segment(none, none, 0, (), True),)))
    with pytest.raises(ValueError, match="context length of 128"):
        llama.runner.run(StepBatch((), (Segment(np.array([1]), np.array([0]), 128, (), True),)))
    with pytest.raises(ValueError, match="the model has no token 97"):
        llama.runner.run(StepBatch((), (Segment(np.array([97]), np.array([0]), 0, (), True),)))


def test_what_a_runner_says_of_itself(llama: Pair) -> None:
    runner = llama.runner
    assert (runner.vocabulary_size, runner.context_length) == (97, 128)
    assert runner.kv_bytes_per_token == 3 * 2 * (16 + 16) * 4
    assert "float32" in runner.kernels


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize(("name", "layers"), [
    ("llama", "linear, norm, gated layers"), ("qwen3", "linear, norm, gated layers"), ("phi3", "linear, norm layers"),
    ("gemma2", "linear layers"), ("opt", "linear layers")])
def test_leaves_that_compiled_kernels_replace(name: str, layers: str, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemma's norms multiply by 1 + weight, OPT's take the mean off: the kernel does not compute them."""
    def refuse(*given: object) -> None:
        raise NotNative("it is not asked for")

    monkeypatch.setattr("semlang.backend.torch_engine.runner.native_decoder", refuse)
    models = pair(name, tmp_path)
    assert f", {layers} (" in models.runner.kernels
    assert models.runner.kernels.endswith("; no whole decoder: it is not asked for")
    ids, slots = np.arange(10, 40), Slots()
    found = models.runner.run(StepBatch((), (Segment(ids, slots.take(30), 0, (), True),)))
    assert_equal(found, [models.logits(ids)])


def test_bfloat16_is_close(tmp_path: Path) -> None:
    models = pair("llama", tmp_path)
    runner = TorchRunner(load_model(str(tmp_path), dtype="bfloat16"))
    runner.allocate(64)
    ids = np.arange(10, 40)
    found = runner.run(StepBatch((), (Segment(ids, np.arange(30), 0, (), True),)))[0]
    expected = models.logits(ids)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
