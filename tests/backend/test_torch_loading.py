"""What can go wrong when a model is loaded gives one clear message."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from semlang.backend.embedded import embedded_model_directory
from semlang.backend.torch_engine.errors import ModelLoadError
from semlang.backend.torch_engine.loading import default_dtype, load_model
from semlang.backend.torch_engine.model_directory import model_directory
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.backend.torch_engine.self_check import check_model
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}


def save(directory: Path, name: str = "llama", **options: Any) -> str:
    """A tiny random model's directory."""
    auto: Any = AutoModelForCausalLM
    model = auto.from_config(AutoConfig.for_model(name, **{**SIZES, **options}))
    model.save_pretrained(directory)
    return str(directory)


def change_config(directory: str, **options: Any) -> None:
    file = Path(directory, "config.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **options}))


def complaint(model: str, **options: str) -> str:
    with pytest.raises(ModelLoadError) as caught:
        TorchRunner(load_model(model, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_directory(tmp_path: Path) -> None:
    assert complaint(str(tmp_path / "nothing")) == f"there is no directory {tmp_path / 'nothing'}"
    assert "there is no directory ./nothing" in complaint("./nothing")


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"")
    assert "is a file; name the directory" in complaint(str(file))


def test_a_directory_without_config(tmp_path: Path) -> None:
    assert "no config.json" in complaint(str(tmp_path))


def test_broken_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert "cannot read" in complaint(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "no_such_model"}')
    assert "cannot read" in complaint(str(tmp_path))


def test_corrupt_weights(tmp_path: Path) -> None:
    model = save(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    assert "cannot read the weights" in complaint(model)
    file.write_bytes(b"\xff" * 100)
    assert "cannot read the weights" in complaint(model)
    file.unlink()
    assert "cannot read the weights" in complaint(model)


def test_missing_and_mismatched_weights(tmp_path: Path) -> None:
    model = save(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    kept = {name: tensor for name, tensor in weights.items() if "layers.1.mlp.up_proj" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    assert "lacks 1 of its weights, model.layers.1.mlp.up_proj.weight among them" in complaint(model)
    save_file({**weights, "model.norm.weight": torch.ones(3)}, file, metadata={"format": "pt"})
    assert "cannot read the weights" in complaint(model)


def test_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    message = complaint("some-organisation/some-model")
    assert message.startswith("there is no directory some-organisation/some-model, and the hub cannot be reached")
    assert "no name of a hub model" in complaint("not a name")


def test_the_hub_has_no_such_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, **options: object) -> str:
        raise RepositoryNotFoundError("404", response=MagicMock())

    monkeypatch.setattr("semlang.backend.torch_engine.model_directory._hub_answers", lambda: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", missing)
    assert "the hub has no public model of that name" in complaint("some/model")


def test_a_hub_model_is_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, object]] = []
    directory = save(tmp_path)

    def snapshot(name: str, local_files_only: bool, **options: object) -> str:
        asked.append((name, local_files_only))
        return directory

    monkeypatch.setattr("semlang.backend.torch_engine.model_directory._hub_answers", lambda: True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert model_directory(directory) == tmp_path
    assert model_directory("some/model") == tmp_path
    assert asked == [("some/model", False)]
    (tmp_path / "config.json").unlink()
    assert "the hub's some/model has no config.json" in complaint("some/model")


@pytest.mark.parametrize("name", ["bloom", "gptj", "mamba", "falcon"])
def test_attention_that_cannot_be_replaced(name: str, tmp_path: Path) -> None:
    AutoConfig.for_model(name).save_pretrained(tmp_path)
    message = complaint(str(tmp_path))
    assert f"is a {name} model, which cannot run on the torch engine: the attention of" in message


def test_not_a_decoder(tmp_path: Path) -> None:
    AutoConfig.for_model("t5").save_pretrained(tmp_path)
    assert "is a t5 model" in complaint(str(tmp_path))


def test_layers_with_another_state(tmp_path: Path) -> None:
    AutoConfig.for_model("llama4_text").save_pretrained(tmp_path)
    assert "layers of type chunked_attention" in complaint(str(tmp_path))


def test_keyword_arguments_that_do_not_reach_the_attention(tmp_path: Path) -> None:
    assert "do not hand keyword arguments down" in complaint(save(tmp_path, "nemotron"))


def test_a_configuration_that_does_not_fit_together(tmp_path: Path) -> None:
    message = complaint(save(tmp_path, "helium"))  # its head size is fixed, 128
    assert "fails on its first token" in message


def test_device_and_dtype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "torch finds no CUDA device; use cpu" in complaint(model, device="cuda")
    assert "unknown device 'gpu'" in complaint(model, device="gpu")
    assert "runs on cpu and cuda" in complaint(model, device="meta")
    assert "unknown dtype 'int3'; use one of float32" in complaint(model, dtype="int3")
    wrong = save(tmp_path / "wrong", semlang_dtype="bf16")
    assert "`semlang_dtype` in its config.json: unknown dtype 'bf16'; use one of" in complaint(wrong)


def test_default_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for stored in ("float16", "float32", "bfloat16"):
        config = AutoConfig.for_model("llama", dtype=stored)
        for capability, expected in (((8, 0), torch.bfloat16), ((7, 5), torch.float16)):
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, has=capability: has)
            assert default_dtype(config, cuda) == expected
        for fast, expected in ((True, torch.bfloat16), (False, torch.float32)):
            monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda fast=fast: fast)
            assert default_dtype(config, cpu) == expected
    for device in (cpu, cuda):
        assert default_dtype(AutoConfig.for_model("llama", semlang_dtype="float32"), device) == torch.float32


def test_a_model_may_name_its_dtype_and_a_request_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    usual, named = save(tmp_path / "usual"), save(tmp_path / "named", semlang_dtype="float32")
    assert load_model(usual).dtype == load_model(usual, dtype="auto").dtype == torch.bfloat16
    assert load_model(usual, dtype="float32").dtype == torch.float32
    assert load_model(named, dtype="auto").dtype == torch.float32
    assert load_model(named, dtype="bfloat16").dtype == torch.bfloat16
    assert load_model(str(embedded_model_directory())).dtype == torch.float32


def test_not_enough_memory_for_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semlang.backend.torch_engine.memory._meminfo_available", lambda: 1000)
    assert "for its weights on cpu, where 0.0 MiB is free" in complaint(save(tmp_path))


def test_not_enough_memory_for_the_pool(tmp_path: Path) -> None:
    runner = TorchRunner(load_model(save(tmp_path)))
    with pytest.raises(ModelLoadError, match=r"the KV pool of 1000000000000 tokens needs .* GiB on cpu"):
        runner.allocate(10**12)


def test_context_length(tmp_path: Path) -> None:
    model = save(tmp_path)
    assert TorchRunner(load_model(model), context_length=20).context_length == 20
    with pytest.raises(ModelLoadError, match="holds 64 tokens of context, not 65"):
        TorchRunner(load_model(model), context_length=65)


def test_longrope_keeps_to_the_length_where_its_angles_are_fixed(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, **factors}
    model = save(tmp_path, "phi3", rope_parameters=rope, original_max_position_embeddings=32, pad_token_id=0)
    assert TorchRunner(load_model(model)).context_length == 32


def test_the_self_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = load_model(save(tmp_path, initializer_range=0.3), dtype="float32")
    runner = TorchRunner(model, compiled=False)
    check_model(model, runner)
    rotary = model.get_decoder().rotary_emb
    forward = rotary.forward

    def ignoring_positions(hidden: torch.Tensor, position_ids: torch.Tensor) -> Any:
        return forward(hidden, torch.arange(position_ids.shape[1])[None])

    monkeypatch.setattr(rotary, "forward", ignoring_positions)
    with pytest.raises(ModelLoadError, match="gives other logits"):
        check_model(model, runner)
