"""Drivers on a tiny model: the protocol, and that ours and `transformers` give the same tokens for every workload."""

import io
import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from workloads import Shape

pytest.importorskip("torch", reason="torch is not installed: pip install 'semlang[torch]'")
pytest.importorskip("transformers")

VOCABULARY = 400
TINY: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "vocab_size": VOCABULARY, "max_position_embeddings": 128,
    "tie_word_embeddings": False, "initializer_range": 0.4}
SHAPES = [
    Shape("tree", "", ((1, 9), (2, 5), (4, 3)), 6),
    Shape("unrelated", "", ((3, 7),), 5),
    Shape("chat", "", ((1, 6), (3, 4)), 4, 3, 2),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from made_model import build

    folder = tmp_path_factory.mktemp("model")
    build(folder, TINY, sources=3)
    return folder


def ask(driver: Any, model: Path, *commands: dict[str, Any], weights: str = "same") -> list[dict[str, Any]]:
    """Answers to `load` and the commands."""
    from protocol import serve

    load = {"command": "load", "model": str(model / "float32"), "dtype": "float32", "weights": weights, "threads": 1,
            "folder": "", "vocabulary": VOCABULARY, "shapes": [asdict(shape) for shape in SHAPES]}
    answers = io.StringIO()
    lines = [json.dumps(command) for command in (load, *commands, {"command": "quit"}, {"command": "not read"})]
    serve(driver, io.StringIO("\n".join(lines)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def run(shape: str, seed: int = 0, variant: str = "plain") -> dict[str, Any]:
    return {"command": "run", "shape": shape, "seed": seed, "variant": variant}


def test_all_give_the_same_tokens(model: Path) -> None:
    from drive_ours import Ours
    from drive_transformers import Transformers

    commands = [run("tree"), run("unrelated"), run("chat"), run("tree", seed=1)]
    ours, plain, expanded = (ask(driver, model, *commands) for driver in
                             (Ours(), Transformers("plain"), Transformers("expanded")))
    assert ours[0]["name"].startswith("semlang (") and plain[0]["name"].endswith("plain")
    for own, reference, by_hand in zip(ours[1:], plain[1:], expanded[1:], strict=True):
        assert own["outputs"] == reference["outputs"] == by_hand["outputs"]
        assert min(own["seconds"], own["cpu_seconds"], reference["seconds"]) > 0
    shapes = [(len(answer["outputs"]), len(answer["outputs"][0]), len(answer["outputs"][0][0])) for answer in ours[1:]]
    assert shapes == [(1, 4, 6), (1, 3, 5), (3, 3, 4), (1, 4, 6)]
    assert ours[1]["outputs"] != ours[4]["outputs"]
    assert len({tuple(output) for answer in ours[1:] for part in answer["outputs"] for output in part}) > 10


def test_errors_are_answers(model: Path) -> None:
    from drive_transformers import Transformers
    from protocol import Driver

    (before,) = ask(Transformers("plain"), model, weights="int8")
    assert "NotImplementedError: no int8 weights" in before["error"]

    class Broken(Driver):
        finished = 0

        def load(self, load: object) -> str:
            return "broken"

        def prepare(self, workload: object, variant: str) -> Any:
            return lambda: 1 // 0

        def finish(self) -> None:
            self.finished += 1

    broken = Broken()
    answers = ask(broken, model, run("tree"), run("no such"))
    assert answers[0]["name"] == "broken" and answers[1] == {"error": answers[1]["error"]}
    assert answers[1]["error"].startswith("ZeroDivisionError") and answers[2]["error"].startswith("KeyError")
    assert broken.finished == 1


def test_priming_comes_first() -> None:
    from protocol import run_rounds
    from workloads import make

    asked = []

    def generate(prompts: list[list[int]], count: int) -> list[list[int]]:
        asked.append(([len(prompt) for prompt in prompts], count))
        return [[7] * count for _ in prompts]

    assert run_rounds(make(SHAPES[0], 0), "primed", generate) == [[[7] * 6] * 4]
    assert asked == [([9], 1), ([14, 14], 1), ([17] * 4, 6)]
    asked.clear()
    assert len(run_rounds(make(SHAPES[2], 0), "plain", generate)) == 3
    assert asked == [([10] * 3, 4), ([16] * 3, 4), ([22] * 3, 4)]


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "q8_0"])
def test_gguf(model: Path, tmp_path: Path, kind: str) -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    np = import_module("numpy")
    writer = import_module("gguf_file")
    kinds = import_module("gguf_kinds").GGUF_KINDS
    assert set(writer.KINDS) == set(kinds)
    target = tmp_path / "model.gguf"
    writer.write_gguf(model / "float32", kind, target)
    assert list(tmp_path.iterdir()) == [target]
    reader = gguf.GGUFReader(target)
    weights = import_module("safetensors.numpy").load_file(model / "float32" / "model.safetensors")
    found = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    assert len(found) == len(weights)
    bound = {"float32": 0.0, "bfloat16": 2.0**-8, "q8_0": 2.0**-6}[kind]
    for name, expected in writer.tensors(weights, json.loads((model / "float32" / "config.json").read_text())):
        assert np.abs(found[name].reshape(expected.shape) - expected).max() <= bound * np.abs(expected).max(), name
    # Head 1 of 4, of 32 rows: row 2 i and its neighbour are rows i and i + 16 of ours.
    query = weights["model.layers.0.self_attn.q_proj.weight"]
    rows = writer.interleaved(query, 4)
    assert (rows[32 + 2 * 5] == query[32 + 5]).all() and (rows[32 + 2 * 5 + 1] == query[32 + 5 + 16]).all()
    fields = reader.fields
    assert len(fields["tokenizer.ggml.tokens"].data) == VOCABULARY
    assert fields["llama.attention.head_count_kv"].parts[fields["llama.attention.head_count_kv"].data[0]][0] == 2
    assert fields["tokenizer.ggml.add_bos_token"].parts[-1][0] == 0
