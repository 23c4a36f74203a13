"""The torch runner over the Triton kernels, in Triton's interpreter: logits as over plain torch."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.torch_engine.runner import TorchRunner
from transformers import AutoConfig, AutoModelForCausalLM

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.backend.torch_engine.kv_pools import LayerShape
from semlang.backend.torch_engine.triton_pools import TritonPools, refusal

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

CPU = torch.device("cpu")
COMMON = {"vocab_size": 97, "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128,
          "pad_token_id": 0}
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma2": {"sliding_window": 8, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16},
    "gpt_oss": {"num_experts_per_tok": 2, "num_local_experts": 4, "sliding_window": 8},
}


def steps() -> list[StepBatch]:
    """A prompt, a decode below it beside a longer branch, and both grown by a token."""
    ids, slots = np.random.default_rng(0).integers(3, 97, 40), np.random.default_rng(1).permutation(64)

    def segment(first: int, last: int, position: int, ancestors: tuple[int, ...]) -> Segment:
        return Segment(ids[first:last], slots[first:last], position, ancestors, True)

    root = KVRun(0, slots[:20], 0)
    branches = (KVRun(1, slots[20:21], 20), KVRun(2, slots[21:30], 20))
    return [StepBatch((), (segment(0, 20, 0, ()),)),
            StepBatch((root,), (segment(20, 21, 20, (0,)), segment(21, 30, 20, (0,)))),
            StepBatch((root, *branches), (segment(30, 31, 21, (0, 1)), segment(31, 32, 29, (0, 2))))]


def logits(runner: TorchRunner) -> tuple[list[NDArray[np.float32]], list[int]]:
    found, read = [], []
    for batch in steps():
        found.append(runner.run(batch))
        read.append(runner.kv_tokens_read)
    return found, read


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("invariant", [False, True])
def test_logits(name: str, invariant: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    auto.from_config(AutoConfig.for_model(name, **{**COMMON, **MODELS[name]})).save_pretrained(tmp_path)
    runner = TorchRunner(load_model(str(tmp_path), dtype="float32"), compiled=False)
    runner.allocate(64)
    expected, tokens = logits(runner)
    assert runner._triton_refusal() is None
    runner._pools = pools = TritonPools(runner.layers, 64, CPU, invariant=invariant)
    for pool in pools:
        pool.keys.fill_(torch.nan)
        pool.values.fill_(torch.nan)
    found, read = logits(runner)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-5 * max(1.0, float(np.abs(theirs).max()))
    assert invariant or read == tokens


def test_refusals() -> None:
    assert refusal([LayerShape(4, 2, 12, 12, torch.float32)], CPU) == (
        "they do not compute 4 heads of size 12 over 2 KV heads in float32")
    assert refusal([LayerShape(4, 2, 16, 16, torch.float64)], CPU) is not None


def test_a_kernel_that_gives_wrong_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from semlang.kernels.triton.attention import TritonAttention

    monkeypatch.setattr(TritonAttention, "store", lambda *given: None)
    found = refusal([LayerShape(3, 1, 16, 16, torch.float32)], CPU)
    assert found == "ArithmeticError: wrong numbers"


def test_no_triton_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    runner = TorchRunner.__new__(TorchRunner)
    assert runner._triton_refusal() == "Triton is not installed; pip install 'semlang[gpu]'"
