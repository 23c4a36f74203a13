"""Profiles: measured on an engine, stored by model and device, refused when they are damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
from semlang.backend.embedded import embedded_tokenizer_directory
from semlang.backend.engine import EngineStats
from semlang.backend.engine_costs import costs_of
from semlang.backend.profile_store import (
    Profile,
    ProfileError,
    ProfileKey,
    device_name,
    find_profile,
    profile_key,
    profiles_directory,
    save_profile,
)
from semlang.backend.profiling import DECODED_TOKENS, Load, loads, profile_engine
from semlang.backend.reference import reference_engine
from semlang.ir.diagnostics import InputError
from semlang.passes.cost_model import REFERENCE, CostModel

KEY = ProfileKey("torch", "a model", "a device")
PROFILE = Profile(KEY, CostModel(step=0.5, max_batch=3), 4096, {"median": 0.1, "worst": 0.2, "loads": []})


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMC_PROFILES", str(tmp_path / "profiles"))
    return tmp_path / "profiles"


def test_a_profile_is_found_again(directory: Path) -> None:
    assert find_profile(KEY) is None
    path = save_profile(PROFILE)
    assert path is not None and path.parent == directory and find_profile(KEY) == PROFILE
    assert [p.name for p in directory.iterdir()] == [KEY.file_name], "nothing else is left"
    for other in (ProfileKey("reference", "a model", "a device"), ProfileKey("torch", "another", "a device"),
                  ProfileKey("torch", "a model", "another")):
        assert find_profile(other) is None


def test_profiles_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_PROFILES", "none")
    assert profiles_directory() is None and save_profile(PROFILE) is None and find_profile(KEY) is None


def test_profiles_are_in_the_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEMC_PROFILES", raising=False)
    monkeypatch.delenv("SEMC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert profiles_directory() == tmp_path / "semlang" / "profiles"


def changed(**values: Any) -> str:
    costs = {**vars(PROFILE.costs), **values.pop("costs", {})}
    return json.dumps({"version": 1, "kv_slots": 4096, "residuals": {}, "costs": costs, **values})


@pytest.mark.parametrize("text", [
    "", "{", "[]", "3", "null", '"text"', "{}", "\x00", changed(version=2), changed(costs={"step": -1.0}),
    changed(costs={"step": "fast"}), changed(costs={"step": float("nan")}), changed(costs={"max_batch": 0}),
    changed(costs={"max_batch": 1.5}), changed(kv_slots="many"), changed(residuals=3), changed(costs={"call": True}),
    "[" * 100_000,
])
def test_a_damaged_profile_is_a_clear_error(directory: Path, text: str) -> None:
    path = save_profile(PROFILE)
    assert path is not None
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=r"the profile .* cannot be used .*; measure again with `semc profile`"):
        find_profile(KEY)


def test_a_profile_that_cannot_be_read_is_a_clear_error(directory: Path) -> None:
    (directory / KEY.file_name).mkdir(parents=True)
    with pytest.raises(ProfileError, match="cannot be used"):
        find_profile(KEY)
    (directory / KEY.file_name).rmdir()
    (directory / KEY.file_name).write_bytes(b"\xff\xfe")
    with pytest.raises(ProfileError, match="cannot be used"):
        find_profile(KEY)


def test_the_key_follows_model_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    embedded = profile_key("torch", embedded_tokenizer_directory(), "cpu")
    assert embedded.device.endswith("3 threads, auto")
    assert profile_key("torch", embedded_tokenizer_directory(), "cpu", "float32").device.endswith("3 threads, float32")
    assert profile_key("reference", embedded_tokenizer_directory(), "cpu", "float32").device.endswith("3 threads")
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    other = profile_key("torch", tmp_path, "cpu")
    assert other.model != embedded.model
    (tmp_path / "config.json").write_text('{"hidden_size": 9}')
    assert profile_key("torch", tmp_path, "cpu").model != other.model
    assert device_name("cuda") and device_name("cuda") != device_name("cpu")


def test_profiling_measures_every_parameter_that_matters() -> None:
    engine = reference_engine(prefix_cache=False, trace=True, max_batch=16, max_step_tokens=256)
    try:
        fit = profile_engine(engine, seconds=2.0)
        engine.check_integrity()
    finally:
        engine.close()
    assert len(fit.by_load()) >= 4 and fit.model.step_seconds(0, 1, 10) > 0
    assert (fit.model.max_batch, fit.model.max_step_tokens) == (16, 256)
    assert fit.model.call >= 0 and fit.model.decode_row > 0
    assert max(sample.decode_rows for sample in fit.samples) <= 16
    assert {sample.prefill_tokens > 0 for sample in fit.samples} == {True, False}


def test_loads_fit_the_engine() -> None:
    assert all(load.rows <= 4 for load in loads(512, 4))
    assert Load(8, 100).slots >= 8 * (100 + DECODED_TOKENS) and Load(8, 100, shared=True).slots < 800
    engine = reference_engine(prefix_cache=False, trace=True, kv_slots=16)
    try:
        with pytest.raises(InputError, match="too small"):
            profile_engine(engine, seconds=1.0)
    finally:
        engine.close()


def test_the_trace_says_what_a_step_computes_and_reads() -> None:
    from semlang.backend.profiling import _Bench, _size

    engine = reference_engine(prefix_cache=False, trace=True, max_step_tokens=8)
    bos = 0 if engine.tokenizer.bos_id is None else 1
    try:
        steps = [_size(event) for event, _ in _Bench(engine).run(Load(1, 12))]
    finally:
        engine.close()
    first, second, *rest = steps
    assert first == (8, 0, 0, 8 * 9 // 2)
    length = 12 + bos
    assert second == (length - 8, 0, 0, length * (length + 1) // 2 - 8 * 9 // 2)
    assert rest[:2] == [(0, 1, length + 1, 0), (0, 1, length + 2, 0)]


def test_an_engine_says_what_it_costs() -> None:
    engine = reference_engine(max_batch=5, max_step_tokens=77)
    try:
        assert costs_of(engine) == CostModel(**{**vars(REFERENCE), "max_batch": 5, "max_step_tokens": 77})
        engine.costs = CostModel(step=1.0)
        assert costs_of(engine) == CostModel(step=1.0, max_batch=5, max_step_tokens=77)
        assert engine.stats() == EngineStats(kernels="reference", kv_bytes_per_token=8)
    finally:
        engine.close()
