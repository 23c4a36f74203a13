"""Files that use one another."""

import os

import pytest
from semlang.frontend.loader import LoadedProgram, load
from semlang.ir.diagnostics import Diagnostics


def load_from(files: dict[str, str | bytes], main: str = "main.sem") -> tuple[LoadedProgram | None, Diagnostics,
                                                                              list[str]]:
    """Load from texts by path; also gives the paths read."""
    diagnostics = Diagnostics()
    read: list[str] = []

    def read_text(path: str) -> bytes:
        read.append(path)
        if path not in files:
            raise FileNotFoundError(2, "No such file or directory", path)
        content = files[path]
        return content if isinstance(content, bytes) else content.encode()

    return load(main, diagnostics, read_text), diagnostics, read


def places(diagnostics: Diagnostics) -> list[tuple[str, str]]:
    return [(d.code, str(d.primary.span) if d.primary else "") for d in diagnostics]


def test_files_come_before_those_that_use_them_and_are_read_once() -> None:
    program, diagnostics, read = load_from({
        "a/main.sem": 'use "../b/one.sem"\nuse "two.sem" as two\nuse "./two.sem"',
        "b/one.sem": 'use "../a/two.sem" as t', "a/two.sem": "enum E { a }",
    }, "a/main.sem")
    assert program is not None and not list(diagnostics)
    assert read == ["a/main.sem", "b/one.sem", "a/two.sem"]
    assert [file.source.path for file in program.files] == ["a/two.sem", "b/one.sem", "a/main.sem"]
    assert program.main is program.files[-1]
    assert [(use.alias, use.file.source.path) for use in program.uses["a/main.sem"]] == [
        (None, "b/one.sem"), ("two", "a/two.sem"), (None, "a/two.sem")]
    assert program.uses["a/two.sem"] == ()


def test_a_cycle_is_spelled_out() -> None:
    program, diagnostics, _ = load_from({"main.sem": 'use "b.sem"', "b.sem": 'use "c.sem"', "c.sem": '\nuse "b.sem"'})
    assert program is None
    assert places(diagnostics) == [("E0503", "c.sem:2:5")]
    assert "`b.sem` → `c.sem` → `b.sem`" in diagnostics.items[0].notes[0]
    program, diagnostics, _ = load_from({"main.sem": 'use "./main.sem"'})
    assert program is None and diagnostics.items[0].message == "a file uses itself"


def test_what_cannot_be_read_is_reported_at_its_use() -> None:
    program, diagnostics, _ = load_from({
        "main.sem": 'use "gone.sem"\nuse "latin.sem"\nuse "wrong.sem"\nuse "x\\0y.sem"',
        "latin.sem": "# caf\xe9".encode("latin-1"),
        "wrong.sem": "enum {",
    })
    assert program is None
    assert places(diagnostics) == [
        ("E0501", "main.sem:1:5"), ("E0502", "main.sem:2:5"), ("E0021", "wrong.sem:1:6"), ("E0001", "wrong.sem:1:6"),
        ("E0501", "main.sem:4:5")]
    _, diagnostics, _ = load_from({})
    assert places(diagnostics) == [("E0501", "")] and "main.sem" in diagnostics.items[0].message


def test_a_folder_is_no_file(tmp_path: os.PathLike[str]) -> None:
    diagnostics = Diagnostics()
    assert load(str(tmp_path), diagnostics) is None
    assert [d.code for d in diagnostics] == ["E0501"]


def test_long_chains_of_files() -> None:
    files: dict[str, str | bytes] = {f"f{i}.sem": f'use "f{i + 1}.sem"' for i in range(2000)}
    program, _, _ = load_from({**files, "f2000.sem": ""}, "f0.sem")
    assert program is not None and len(program.files) == 2001


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"enum E { a }")))
    program = load("-", Diagnostics())
    assert program is not None and program.main.source.path == "<stdin>"
