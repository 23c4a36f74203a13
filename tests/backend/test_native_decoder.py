"""The compiled decoder of a whole model: which models it takes, its logits, and on what they depend."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.torch_engine import native_decoder as native
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.native_observation import NotNative
from semlang.backend.torch_engine.native_parts import is_linear
from semlang.backend.torch_engine.plain_logits import plain_logits
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.kernels.cpu.library import Kernels, find_compiler, load_kernels
from tiny_models import MODELS, Slots, assert_equal, pair, poison, save_tiny
from transformers import AutoConfig, AutoModelForCausalLM

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")

EXPERTS = "its feed-forward part is not made of"
REFUSED = {
    "apertus": "its feed-forward part is none that is known",
    "deepseek_v3": "its queries, keys and values come from a chain of linear layers",
    **dict.fromkeys(("gpt_oss", "granitemoe", "mixtral", "qwen2_moe", "qwen3_moe"), EXPERTS),
}
"""Architectures of `tiny_models` that keep to their own modules, and why; the others must not."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def saved(directory: Path, name: str = "llama", **options: object) -> str:
    """A tiny model with large weights."""
    torch.manual_seed(0)
    configuration: dict[str, Any] = {
        "vocab_size": 97, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "pad_token_id": 0, **options}
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(name, **configuration))
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.12) if parameter.dim() > 1 else parameter.data.add_(torch.rand(parameter.shape) / 4)
    model.save_pretrained(directory)
    return str(directory)


def runner_of(directory: str, dtype: str = "float32", slots: int = 1000) -> TorchRunner:
    """Its pool full of NaN."""
    runner = TorchRunner(load_model(directory, dtype=dtype))
    runner.allocate(slots)
    poison(runner)
    assert runner.is_native, runner.kernels
    return runner


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_which_models_it_takes(name: str, dtype: str, tmp_path: Path) -> None:
    save_tiny(name, tmp_path)
    kernels = TorchRunner(load_model(str(tmp_path), dtype=dtype)).kernels
    if name in REFUSED:
        assert f"; no whole decoder: {REFUSED[name]}" in kernels
    else:
        assert kernels.startswith("whole decoder (") and kernels.endswith(f"{dtype} on cpu")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_its_weights_are_held_once(dtype: str, tmp_path: Path) -> None:
    model = load_model(saved(tmp_path, "gpt2", n_inner=160), dtype=dtype)  # whose head shares its embedding
    linears = [module for module in model.modules() if is_linear(module)]
    assert linears and all(module.weight.numel() for module in linears)  # type: ignore[operator]
    first = TorchRunner(model)
    assert not any(module.weight.numel() for module in linears)  # type: ignore[operator]
    second = TorchRunner(model)
    assert second._decoder is first._decoder and second.vocabulary_size == first.vocabulary_size
    for runner in (first, second):
        runner.allocate(40)
    batch = StepBatch((), (Segment(np.arange(7), np.arange(7), 0, (), True),))
    assert np.array_equal(first.run(batch), second.run(batch))


def test_a_model_that_differs_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    for name in ("llama", "gpt2", "phi3"):
        model = load_model(saved(tmp_path, name), dtype="float32")
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with monkeypatch.context() as patch:
            patch.setattr(native, "TOLERANCE", {torch.float32: 0.0})
            with pytest.raises(NotNative, match="its logits differ by"):
                native.native_decoder(model, kernels, 512)
        after = model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert native.known_decoder(model) is None


SHAPES = [
    {"head_dim": 80}, {"head_dim": 48, "num_key_value_heads": 6}, {"head_dim": 256, "num_key_value_heads": 1},
    {"intermediate_size": 50},
    {"hidden_size": 112, "head_dim": 16, "num_attention_heads": 7, "num_key_value_heads": 7},
    {"vocab_size": 131, "tie_word_embeddings": True},
    {"attention_bias": True, "mlp_bias": True}, {"hidden_act": "gelu"}, {"hidden_act": "relu2"},
    {"hidden_act": "gelu_pytorch_tanh"}, {"num_key_value_heads": 6, "partial_rotary_factor": 0.5},
    {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
                         "original_max_position_embeddings": 128}},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 128}},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: ", ".join(shape))
def test_shapes_and_options(shape: dict[str, Any], tmp_path: Path) -> None:
    """One chunk of many rows (blocks of rows), and rows that follow it (outputs of layers)."""
    directory = saved(tmp_path, **shape)
    runner, slots = runner_of(directory), Slots()
    auto: Any = AutoModelForCausalLM
    plain = auto.from_pretrained(directory, attn_implementation="eager").eval()
    ids = np.random.default_rng(0).integers(0, 97, 163)
    with torch.inference_mode():
        expected = plain(torch.from_numpy(ids)[None]).logits[0].numpy()
    places = slots.take(163)
    found = [runner.run(StepBatch((), (Segment(ids[:160], places[:160], 0, (), True),)))[0]]
    for end in (161, 162, 163):
        runs = (KVRun(0, places[: end - 1], 0),)
        found.append(runner.run(StepBatch(runs, (Segment(ids[end - 1 : end], places[end - 1 : end], end - 1, (0,),
                                                         True),)))[0])
    for row, wanted in zip(found, expected[159:], strict=True):
        assert np.abs(row - wanted).max() < 1e-5 * np.abs(expected).max()


def steps(runner: TorchRunner) -> list[NDArray[np.float32]]:
    """Logits of a mixed step of many rows, of one of few below a shared prefix, and of one row."""
    random, slots = np.random.default_rng(3), Slots()
    chunks = [(random.integers(0, 97, count), slots.take(count)) for count in (150, 40, 1, 17)]
    results = [runner.run(StepBatch((), [Segment(ids, place, 0, (), True) for ids, place in chunks]))]
    runs = [KVRun(number, place, 0) for number, (_, place) in enumerate(chunks)]
    below = [Segment(random.integers(0, 97, count), slots.take(count), 150, (0,), True) for count in (1, 2, 1, 9)]
    results.append(runner.run(StepBatch(runs, below)))
    results.append(runner.run(StepBatch(runs, [Segment(random.integers(0, 97, 1), slots.take(1), 40, (1,), True)])))
    return results


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["llama", "olmo2", "gemma2", "phi"])
def test_the_number_of_threads_changes_no_bit(name: str, dtype: str, tmp_path: Path) -> None:
    """Seven are more than there are cores, and more than there are works in some phases."""
    directory = saved(tmp_path, name)
    alone = steps(runner_of(directory, dtype))
    runner = runner_of(directory, dtype)
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        for found, expected in zip(steps(runner), alone, strict=True):
            assert np.isfinite(found).all()
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_change_no_bit(dtype: str, threads: int, tmp_path: Path) -> None:
    """Prompts and decoding rows that share nothing: alone, and in a step large enough for blocks of rows."""
    torch.set_num_threads(threads)
    runner, slots, random = runner_of(saved(tmp_path), dtype), Slots(), np.random.default_rng(5)
    prompts = [(random.integers(0, 97, count), slots.take(count)) for count in (33, 1, 90, 12, 64)]
    segments = [Segment(ids, place, 0, (), True) for ids, place in prompts]
    together = runner.run(StepBatch((), segments))
    for row, segment in zip(together, segments, strict=True):
        assert np.array_equal(runner.run(StepBatch((), (segment,)))[0], row)
    runs = [KVRun(number, place, 0) for number, (_, place) in enumerate(prompts)]
    rows = [Segment(random.integers(0, 97, 1), slots.take(1), len(place), (number,), True)
            for number, (_, place) in enumerate(prompts)]
    together = runner.run(StepBatch(runs, rows))
    for number, (row, segment) in enumerate(zip(together, rows, strict=True)):
        alone = Segment(segment.token_ids, segment.slots, segment.first_position, (0,), True)
        assert np.array_equal(runner.run(StepBatch((runs[number],), (alone,)))[0], row)


@pytest.mark.parametrize("name", [*list(MODELS)[:8], "cohere"])
def test_bfloat16_errs_no_more_than_transformers(name: str, tmp_path: Path) -> None:
    """By the end of prompts in one piece, of chunks below a prefix, and of chunks that share it in one step."""
    directory = saved(tmp_path, name)
    untyped: Any = AutoModelForCausalLM
    ids = np.random.default_rng(1).integers(3, 97, 120)
    usual_attention = "eager" if name == "gemma2" else "sdpa"
    rounded = untyped.from_pretrained(directory, dtype=torch.bfloat16, attn_implementation=usual_attention).eval()
    exact = untyped.from_pretrained(directory, dtype=torch.bfloat16, attn_implementation="eager").double().eval()
    with torch.inference_mode():
        expected = exact(torch.from_numpy(ids)[None]).logits[0, -30:].numpy()
        usual = rounded(torch.from_numpy(ids)[None]).logits[0, -30:].double().numpy()
    runner, slots = runner_of(directory, "bfloat16"), np.random.default_rng(2).permutation(1000)
    prefix, places = slots[:90], [slots[90 + i * (i + 1) // 2 : 91 + i + i * (i + 1) // 2] for i in range(30)]
    whole = [runner.run(StepBatch((), (Segment(ids[: 91 + i], slots[: 91 + i], 0, (), True),)))[0] for i in range(30)]
    runner.run(StepBatch((), (Segment(ids[:90], prefix, 0, (), False),)))
    below = [Segment(ids[90 : 91 + i], place, 90, (0,), True) for i, place in enumerate(places)]
    runs = (KVRun(0, prefix, 0),)
    alone = [runner.run(StepBatch(runs, (segment,)))[0] for segment in below]
    shared = runner.run(StepBatch(runs, below))
    for found in (whole, alone, shared):
        assert np.linalg.norm(np.array(found) - expected) <= np.linalg.norm(usual - expected)


def test_only_wanted_rows_have_logits(tmp_path: Path) -> None:
    runner, slots = runner_of(saved(tmp_path)), Slots()
    random = np.random.default_rng(6)
    segments = [Segment(random.integers(0, 97, count), slots.take(count), 0, (), count % 2 == 0)
                for count in (3, 4, 5, 60, 80)]
    found = runner.run(StepBatch((), segments))
    every = [Segment(one.token_ids, one.slots, 0, (), True) for one in segments]
    assert np.array_equal(found, runner.run(StepBatch((), every))[[1, 3, 4]])
    assert runner.run(StepBatch((), segments[:1])).shape == (0, 97)




def test_a_described_model_computes_by_itself_no_more(tmp_path: Path) -> None:
    models = pair("qwen2", tmp_path)
    ids = np.arange(5, 25)
    found = models.runner.run(StepBatch((), (Segment(ids, np.arange(20), 0, (), True),)))
    assert_equal(found, [models.logits(ids)])
    with pytest.raises(ValueError, match="fails by itself"):
        plain_logits(models.runner._model, ids)
