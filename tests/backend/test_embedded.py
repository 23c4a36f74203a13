"""The embedded default is built once, the same everywhere, and is a plain model directory."""

import filecmp
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from semlang.backend import embedded
from semlang.backend.embedded import build_once, cache_directory, embedded_model_directory, embedded_tokenizer_directory
from semlang.backend.tokenizer import load_tokenizer

TOKENIZER_FILES = [
    "chat_template.jinja", "config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json",
    "tokenizer_config.json",
]


def test_two_builds_are_the_same_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    for name in ("one", "two"):
        monkeypatch.setenv("SEMC_CACHE", str(tmp_path / name))
        built.append(embedded_model_directory())
        assert built[-1].parent == tmp_path / name == cache_directory()
    one, two = built
    names = sorted([*TOKENIZER_FILES, "model.safetensors"])
    same, different, missing = filecmp.cmpfiles(one, two, names, shallow=False)
    assert sorted(same) == names and not different and not missing
    assert load_tokenizer(built[0]).digest == load_tokenizer(embedded_tokenizer_directory()).digest


def test_the_tokenizer_is_of_the_promised_size() -> None:
    tokenizer = embedded.embedded_tokenizer()
    assert 1500 <= tokenizer.vocabulary_size <= embedded.VOCABULARY_SIZE
    assert tokenizer.bos_id is not None and len(tokenizer.eos_ids) == 1
    text = (Path(embedded.__file__).parent / "embedded_corpus.txt").read_text()
    assert len(tokenizer.encode_piece(text, first=True)) < len(text.encode()) / 2.5
    config = json.loads((embedded_tokenizer_directory() / "config.json").read_text())
    assert config["vocab_size"] == tokenizer.vocabulary_size
    assert config["max_position_embeddings"] == embedded.CONTEXT_LENGTH


def test_builds_that_race_end_in_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_CACHE", str(tmp_path))

    def build(directory: Path) -> None:
        (directory / "file").write_text("content")

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: build_once("thing", build), range(64)))
    (directory,) = found
    assert (directory / "file").read_text() == "content"
    assert list(tmp_path.iterdir()) == [directory], "scratch directories were left behind"


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_CACHE", str(tmp_path))

    def fail(directory: Path) -> None:
        (directory / "half").write_text("x")
        raise RuntimeError("no space left")

    with pytest.raises(RuntimeError):
        build_once("thing", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SEMC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="file"):
        embedded_tokenizer_directory()


def test_the_reference_engine_needs_no_model_library() -> None:
    program = (
        "import sys; from semlang.backend.reference import reference_engine; reference_engine().close();"
        "print([m for m in ('torch', 'transformers', 'safetensors') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_transformers_loads_the_model_and_its_text_varies() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(embedded_model_directory()), dtype=torch.float32)
    assert 1e6 < model.num_parameters() < 4e6
    tokenizer = embedded.embedded_tokenizer()
    lengths = []
    for prompt in ["You are an expert software engineer.\nCode:", "Question: Why?\nAnswer:", "hello world"]:
        ids = [tokenizer.bos_id, *tokenizer.encode_piece(prompt, first=True)]
        with torch.no_grad():
            output = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False)[0, len(ids) :].tolist()
        assert len(set(output)) > len(output) / 2, "the text repeats itself"
        lengths.append(len(output))
    assert min(lengths) < 64, "no output ended by itself"
