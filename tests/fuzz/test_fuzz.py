"""Random and mutated inputs: every command ends with 0, 1 or 2, in time, and without a traceback.

SEMC_FUZZ_INPUTS says how many inputs (10,000 every night), SEMC_FUZZ_SEED which. A failure prints the input.
"""

import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from semlang.cli.main import main

ROOT = Path(__file__).parents[2]
INPUTS = int(os.environ.get("SEMC_FUZZ_INPUTS", "300"))
SEED = os.environ.get("SEMC_FUZZ_SEED", "0")
GROUPS = 10
SECONDS_PER_COMMAND = 30
TOKEN = re.compile(r"\s+|\w+|\"\"\"|\{\{|\}\}|\$\{|[^\w\s]")
SOURCES = [
    *(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("programs/*.sem"))),
    *re.findall(r"^```sem[^\n]*\n(.*?)^```$", (ROOT / "docs" / "language.md").read_text(encoding="utf-8"), re.M | re.S),
]
WORDS = sorted({token for source in SOURCES for token in TOKEN.findall(source)})
ODD = ["\0", "\ufeff", "\u202e", "é", "e\u0301", "😀", "\\", '"', '"""', "{{", "}}", "${", "\r\n", "\t", "9" * 25,
       "1e999", "(" * 200, "[" * 200, "{" * 200, "-" * 200, "not " * 200, "0", "-1", "9223372036854775807", "none",
       "[]", "[:]"]


def random_text(rng: random.Random) -> str:
    """Text that is no program: words of the language, odd characters, or both."""
    pool = rng.choice([WORDS, ODD, WORDS + ODD, [chr(rng.randrange(0x20, 0x3000)) for _ in range(40)]])
    return rng.choice(["", " ", "\n"]).join(rng.choice(pool) for _ in range(rng.randrange(60)))


def mutated(rng: random.Random, texts: list[str], words: list[str]) -> str:
    """A text after a few random edits of its tokens, or spliced with another one."""
    tokens = TOKEN.findall(rng.choice(texts))
    if rng.random() < 0.1:
        other = TOKEN.findall(rng.choice(texts))
        tokens = tokens[: rng.randrange(len(tokens))] + other[rng.randrange(len(other)) :]
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        start = rng.randrange(len(tokens) + 1)
        end = min(len(tokens), start + rng.choice([0, 1, 1, 1, 2, 5, 20]))
        match rng.randrange(4):
            case 0:
                tokens[start:end] = []
            case 1:
                tokens[start:end] = [rng.choice(words)]
            case 2:
                tokens[start:end] = tokens[start:end] * 2
            case 3:
                tokens[start:end] = [rng.choice(ODD)]
    return "".join(tokens)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in this thread after so many seconds."""
    def expire(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_input(text: str, file: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Run commands on one input until one finds it wrong; fail unless each ends well."""
    file.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    for command in commands:
        with time_limit(SECONDS_PER_COMMAND):
            code = main([command[0], str(file), *command[1:]])
        captured = capsys.readouterr()
        assert code in (0, 1, 2), f"{command} ended with {code}:\n{captured.err}\non the input\n{text!r}"
        assert (code == 2) == ("error[" in captured.err) or code == 1, f"{command}: {captured.err}\non {text!r}"
        if code == 2:
            return


def each_input(group: int, kind: str, make: Callable[[random.Random], str]) -> Iterator[str]:
    """The inputs of one group."""
    for number in range(group, INPUTS, GROUPS):
        yield make(random.Random(f"{SEED}:{kind}:{number}"))


@pytest.mark.parametrize("group", range(GROUPS))
def test_source(group: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def make(rng: random.Random) -> str:
        return random_text(rng) if rng.random() < 0.2 else mutated(rng, SOURCES, WORDS)

    commands = [["check"], ["fmt", "--check"],
                ["compile", "--emit", "engine", "--engine", "reference", "--verify-each"],
                ["run", "--engine", "reference", "--timeout", "5", "--json"]]
    (tmp_path / "programs").symlink_to(ROOT / "programs")
    for text in each_input(group, "source", make):
        try_input(text, tmp_path / "input.sem", commands, capsys)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The IR of every example program at every level."""
    folder = tmp_path_factory.mktemp("modules")
    texts = []
    for program in sorted(ROOT.glob("programs/*.sem")):
        for level in ("sem", "prompt", "engine"):
            output = folder / f"{program.stem}-{level}.sir"
            assert main(["compile", str(program), "--emit", level, "--engine", "reference", "-o", str(output)]) == 0
            texts.append(output.read_text(encoding="utf-8"))
    return texts


@pytest.mark.parametrize("group", range(GROUPS))
def test_ir(group: int, modules: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = sorted({token for text in modules for token in TOKEN.findall(text)})

    def make(rng: random.Random) -> str:
        return mutated(rng, modules, words)

    for text in each_input(group, "ir", make):
        try_input(text, tmp_path / "input.sir", [["opt"], ["opt", "-O2", "--engine", "reference"]], capsys)


@pytest.mark.parametrize("group", range(GROUPS))
def test_arguments(group: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = ['[1, "a"]', '["a"]', "{}", "nan", "null", "1e400", "@nowhere", "[" * 5000, "\ud800", '"\\ud800"', "true"]
    flags = ["--arg", "--args", "--program", "-O1", "-O7", "--engine", "--model", "--seed", "--timeout", "--json"]
    for number in range(group, INPUTS, GROUPS):
        rng = random.Random(f"{SEED}:arguments:{number}")
        command = ["run", str(ROOT / "programs" / "extraction.sem"), "--engine", "reference", "--timeout", "5"]
        for _ in range(rng.randrange(1, 4)):
            command += [rng.choice(flags), rng.choice([*values, "messages=" + rng.choice(values), rng.choice(WORDS)])]
        with time_limit(SECONDS_PER_COMMAND):
            code = main(command)
        assert code in (0, 1, 2), (command, capsys.readouterr().err)
        capsys.readouterr()
