"""Everything that README and docs/ show is run.

* A ```sem block is checked and must be clean; its tests must pass. A ```text block right after it holds either
  the diagnostics that checking it gives or, if it begins with `$`, commands as below.
* A block with `file=NAME` is written to that name first, so that blocks of a page can use one another.
* In a ```console block, each `$ ` line is a command and what follows is what it prints, stdout first. `…` stands for
  anything within a line, a line `…` for any lines; numbers in the line of statistics may differ. `> file` is known.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from semlang.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the rest of its first line, its text, its line in the page."""

    language: str
    information: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name after `file=`."""
        found = re.search(r"file=(\S+)", self.information)
        return found[1] if found else None


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page that name a language."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def cases(language: str) -> list[object]:
    """Every block of one language as a parameter of a test: the page, and the number of the block in it."""
    return [
        pytest.param(page, number, id=f"{page.name}:{block.line}")
        for page in PAGES for number, block in enumerate(blocks_of(page)) if block.language == language
    ]


def enter(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Make `folder` the current one, with the example programs and the named blocks of the page in it."""
    blocks = blocks_of(page)
    (folder / "programs").symlink_to(ROOT / "programs")
    for block in blocks:
        if block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    return blocks


@pytest.mark.parametrize(("page", "number"), cases("sem"))
def test_programs(page: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                  capsys: pytest.CaptureFixture[str]) -> None:
    blocks = enter(page, tmp_path, monkeypatch)
    block = blocks[number]
    name = block.file or "example.sem"
    Path(name).write_text(block.text, encoding="utf-8")
    following = blocks[number + 1] if number + 1 < len(blocks) else None
    code = main(["check", name])
    printed = capsys.readouterr().err
    if following is not None and following.language == "text":
        assert printed == following.text
        assert code == (2 if "error[" in printed else 0)
        return
    assert (code, printed) == (0, "")
    if re.search(r'^test "', block.text, re.MULTILINE):
        assert main(["test", name]) == 0, capsys.readouterr()


@pytest.mark.parametrize(("page", "number"), cases("console"))
def test_commands(page: Path, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                  capsys: pytest.CaptureFixture[str]) -> None:
    block = enter(page, tmp_path, monkeypatch)[number]
    for command, expected in commands_of(block.text):
        printed = run(command, capsys)
        assert matches(expected, printed), f"{command}\n{printed}"


def commands_of(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block begins with a command"
    return [(command, expected) for command, _, expected in (part.partition("\n") for part in parts[1:])]


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints on stdout and stderr."""
    words = shlex.split(command, comments=True)
    if words[-2:-1] == [">"]:
        assert Path(words[0]).name == "semc", command
        main(words[1:-2])
        captured = capsys.readouterr()
        Path(words[-1]).write_text(captured.out, encoding="utf-8")
        return captured.err
    if words == ["make", "test"]:  # this very run; only see that the target exists
        make_lines("test")
        return ""
    if words == ["make", "run"]:  # without setting up the virtual environment once more
        words = shlex.split(make_lines("run")[-1])
    elif words[0] == "cat":
        return Path(words[1]).read_text(encoding="utf-8")
    elif words[:2] == ["python", "-m"]:
        done = subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, text=True)
        return done.stdout + done.stderr
    assert Path(words[0]).name == "semc", f"only semc, make, cat and python -m are known here: {command}"
    main(words[1:])
    captured = capsys.readouterr()
    return captured.out + captured.err


def make_lines(target: str) -> list[str]:
    """The commands that `make` would run for a target."""
    command = ["make", "--dry-run", "--no-print-directory", target]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.splitlines()


def matches(expected: str, printed: str) -> bool:
    """Whether what was printed is what a page shows, where `…` stands for anything."""
    return re.fullmatch("".join(map(line_pattern, expected.splitlines(keepends=True))), printed) is not None


def line_pattern(line: str) -> str:
    """The regular expression for a line that a page shows."""
    if line == "…\n":
        return r"(?:.*\n)*?"
    pattern = ".*".join(re.escape(part) for part in line.split("…"))
    # Seconds differ, and a torch engine fills ahead of need when it has the time.
    return re.sub(r"\d+(\\\.\d+)?", r"\\d+(\\.\\d+)?", pattern) if re.match(r"semc: \d+ calls?", line) else pattern
