"""The batch-invariant mode of a GPU, in Triton's interpreter: no bit of a logit depends on neighbours, chunks, sharing,
slots, padding or recording."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.torch_engine.errors import ModelLoadError
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.runner import TorchRunner
from transformers import AutoConfig, AutoModelForCausalLM

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from recorded_graphs import RecordedGraphs
from semlang.backend.torch_engine.device_runner import DeviceTorchRunner
from semlang.backend.torch_engine.gpu_leaves import use_gpu_kernels
from semlang.backend.torch_engine.invariance import check_invariant

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

COMMON = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128,
          "pad_token_id": 0}
PROMPT, COUNT, SLOTS, SPAN = 45, 3, 160, 32
IDS = np.random.default_rng(0).integers(3, 97, 200)


@pytest.fixture(autouse=True)
def small_companies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter takes its time."""
    monkeypatch.setattr("semlang.backend.torch_engine.invariance.COMPANIES", (2, 34))


class Interpreted(DeviceTorchRunner):
    """As on a GPU with Triton."""

    def _choose_kernels(self, compiled: object) -> str:
        self._triton = True
        return "tree attention (Triton), interpreted"


def loaded(name: str, folder: Path, dtype: str = "float32") -> Any:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    auto.from_config(AutoConfig.for_model(name, **COMMON)).save_pretrained(folder)
    return load_model(str(folder), dtype=dtype)


def runner_of(model: Any, graphs: RecordedGraphs | None = None) -> Interpreted:
    runner = Interpreted(model, graphs=graphs, rows=4, invariant=True)
    runner.allocate(SLOTS)
    for planner in runner._triton_pools._planners.values():
        planner.span = SPAN  # so that short contexts have several
    for pool in runner._triton_pools:
        pool.keys.fill_(torch.nan)
        pool.values.fill_(torch.nan)
    return runner


def alone(runner: TorchRunner) -> list[NDArray[np.float32]]:
    """The logits of a prompt and of the tokens after it, one call, one segment for each step."""
    slots = np.arange(SLOTS)
    found = [runner.run(StepBatch((), (Segment(IDS[:PROMPT], slots[:PROMPT], 0, (), True),)))[0]]
    for at in range(PROMPT, PROMPT + COUNT):
        run = KVRun(0, slots[:at], 0)
        found.append(runner.run(StepBatch((run,), (Segment(IDS[at : at + 1], slots[at : at + 1], at, (0,), True),)))[0])
    return found


def in_company(runner: Interpreted) -> list[NDArray[np.float32]]:
    """The same tokens with slots in random order, the prompt in chunks beside another one, then rows that share it."""
    slots = np.random.default_rng(1).permutation(SLOTS)
    own, other = slots[: PROMPT + COUNT], slots[60:]
    runner.run(StepBatch((), (Segment(IDS[100:117], other[:17], 0, (), True),
                              Segment(IDS[:34], own[:34], 0, (), False))))
    runs = (KVRun(0, other[:17], 0), KVRun(1, own[:34], 0))
    logits = runner.run(StepBatch(runs, (Segment(IDS[34:PROMPT], own[34:PROMPT], 34, (1,), True),
                                         Segment(IDS[117:120], other[17:20], 17, (0,), True))))
    found = [logits[0]]
    for step in range(COUNT):
        at = PROMPT + step
        above = KVRun(1, own[:PROMPT], 0)
        ours = KVRun(2, own[PROMPT:at], PROMPT)
        theirs = KVRun(3, other[50 : 50 + step], PROMPT)
        unrelated = KVRun(4, other[: 20 + step], 0)
        batch = StepBatch((above, ours, theirs, unrelated), (
            Segment(IDS[150 + step : 151 + step], other[50 + step : 51 + step], at, (0, 2) if step else (0,), True),
            Segment(IDS[170 + step : 171 + step], other[20 + step : 21 + step], 20 + step, (3,), True),
            Segment(IDS[at : at + 1], own[at : at + 1], at, (0, 1) if step else (0,), True)))
        found.append(runner.run(batch)[2])
    return found


def test_no_bit_depends_on_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded("llama", tmp_path)
    plain = TorchRunner(model, compiled=False)
    plain.allocate(SLOTS)
    expected = alone(plain)
    runner = runner_of(model)
    assert runner.kernels.startswith("norm, gated, fused attention, invariant linear layers (Triton), batch-invariant")
    assert "batch-invariant" in runner._triton_pools.kernel
    found = alone(runner)
    recorded = runner_of(model, RecordedGraphs(monkeypatch))
    together = in_company(recorded)
    assert recorded.replayed_steps == COUNT, recorded.kernels
    for ours, theirs, right in zip(found, together, expected, strict=True):
        assert np.array_equal(ours, theirs)
        assert np.abs(ours - right).max() < 1e-5


def test_models_that_are_not_known_to_keep_to_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not known of the model's Gemma2RMSNorm, "):
        runner_of(loaded("gemma2", tmp_path))


def test_what_mixes_the_rows_is_found(tmp_path: Path) -> None:
    model = loaded("llama", tmp_path)
    use_gpu_kernels(model, invariant=True)
    check_invariant(model, 97)
    model.model.norm.register_forward_hook(lambda module, given, result: result * (1 + 1e-6 * result.shape[1]))
    with pytest.raises(ModelLoadError, match="LlamaForCausalLM depend on the batch by a bit"):
        check_invariant(model, 97)


def test_without_kernels_it_is_refused(tmp_path: Path) -> None:
    model = loaded("llama", tmp_path)
    with pytest.raises(ModelLoadError, match="need the whole decoder, compiled for a CPU, and here it is: "):
        TorchRunner(model, compiled=False, invariant=True)
