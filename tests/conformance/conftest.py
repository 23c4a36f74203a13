"""What the conformance tests share: a source text run in process at every level, with a record of every call."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.executor import run_module
from semlang.backend.generation import CallRecord
from semlang.backend.model_runner import StepBatch
from semlang.backend.reference import reference_engine
from semlang.backend.results import RunResult
from semlang.backend.step_engine import StepEngine
from semlang.cli.main import main
from semlang.frontend.compile import check_file, compile_file
from semlang.ir.core import Module
from semlang.ir.diagnostics import Diagnostic
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.render_diagnostics import render_all
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target, Tokenizer
from semlang.passes.manager import PipelineOptions, run_pipeline
from semlang.passes.pipelines import pipeline

HOST_MODULE = "conformance_hosts"


class ByteTokenizer:
    """One token for each UTF-8 byte, 256 ends; each role opens with `<role>`. A dummy prefix would be `^`."""

    vocabulary_size = 257
    eos_ids = frozenset({256})
    bos_id: int | None = None
    longest_token_bytes = 1
    digest = "bytes"

    def __init__(self, *, has_dummy_prefix: bool = False) -> None:
        self.has_dummy_prefix = has_dummy_prefix

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        return list(("^" + text if text and first and self.has_dummy_prefix else text).encode())

    def encode_scaffold(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, token_ids)).decode(errors="replace")

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        return f"<{'/'.join((*roles_so_far, role))}>"


class ScriptedRunner:
    """A model that wants to write, after a prompt that ends in a key of `answers`, its bytes and then the end."""

    kernels = "scripted"
    kv_bytes_per_token = 8
    vocabulary_size = 257
    context_length = 4096

    def __init__(self, answers: Mapping[str, bytes | str]) -> None:
        self.answers = {k.encode(): v if isinstance(v, bytes) else v.encode() for k, v in answers.items()}
        self.kv = np.zeros(0, dtype=np.int64)

    def allocate(self, slots: int) -> None:
        self.kv = np.zeros(slots, dtype=np.int64)

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        wanted = []
        for segment in batch.segments:
            self.kv[segment.slots] = segment.token_ids
        for segment in batch.segments:
            if segment.wants_logits:
                slots = [batch.runs[i].slots for i in segment.ancestors] + [segment.slots]
                wanted.append(self.after(bytes(np.concatenate([self.kv[s] for s in slots]).astype(np.uint8))))
        logits = np.zeros((len(wanted), self.vocabulary_size), dtype=np.float32)
        for row, token in zip(logits, wanted, strict=True):
            row[token] = 20.0
        return logits

    def after(self, text: bytes) -> int:
        """The token that the model prefers."""
        for prompt, answer in self.answers.items():
            at = text.rfind(prompt)
            written = text[at + len(prompt) :]
            if at >= 0 and answer.startswith(written):
                return answer[len(written)] if len(written) < len(answer) else 256
        return 256


class Sem:
    """Runs, checks and compiles source texts. `log`: what the hosts of the last run wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "main.sem"
        self.engines: dict[bool, StepEngine] = {}
        self.log: list[Any] = []
        self.results: dict[int, RunResult] = {}
        self.tokenizer: Tokenizer = embedded_tokenizer()

    def write(self, source: str, name: str = "main.sem") -> Path:
        """Write a file beside the main one."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return path

    def engine(self, prefix_cache: bool) -> StepEngine:
        """The reference engine, or the scripted one where `script` was called."""
        if prefix_cache not in self.engines:
            self.engines[prefix_cache] = reference_engine(prefix_cache=prefix_cache)
        return self.engines[prefix_cache]

    def script(self, answers: Mapping[str, bytes | str], *, has_dummy_prefix: bool = False) -> None:
        """Run what follows on a model of bytes that answers prompts by how they end."""
        self.close()
        self.tokenizer = ByteTokenizer(has_dummy_prefix=has_dummy_prefix)
        for cache in (False, True):
            self.engines[cache] = StepEngine(ScriptedRunner(answers), self.tokenizer, name="scripted", kv_slots=1 << 16,
                                             prefix_cache=cache, speculative_fills=False)

    def close(self) -> None:
        """Stop the engines."""
        for engine in self.engines.values():
            engine.close()
        self.engines.clear()

    def module(self, source: str, level: int = 0, *, program: str | None = None) -> Module:
        """The engine-level module of a source."""
        self.write(source)
        module = compile_file(str(self.path), program=program).module
        aliases = ["", *(op.symbol for op in module.ops if op.name == "sem.model")]
        target = Target({alias: ModelTarget(self.tokenizer, 8192) for alias in aliases}, "reference")
        run_pipeline(module, pipeline(level), target, PipelineOptions(verify_each=True))
        return module

    def hosts(self, text: str) -> None:
        """Make `text` the importable module of hosts; `log` in it is `self.log`."""
        module = types.ModuleType(HOST_MODULE)
        self.log = []
        module.__dict__["log"] = self.log
        sys.modules[HOST_MODULE] = module
        exec(text, module.__dict__)

    def run(self, source: str, arguments: Mapping[str, Any] | None = None, *, hosts: str = "", seed: int = 0,
            program: str | None = None, timeout: float | None = 30) -> RunResult:
        """Run at every level; what can be observed must be equal. Gives the result of -O0."""
        logs = []
        for level in (0, 1, 2):
            module = self.module(source, level, program=program)
            text = print_module(module, locations=True)
            module = parse_module(SourceFile("round.sir", text))
            assert print_module(module, locations=True) == text, "the text of the IR does not parse back to itself"
            self.hosts(hosts)
            engine = self.engine(level > 0)
            self.results[level] = run_module(module, {"": engine}, arguments or {}, seed=seed, record_calls=True,
                                             timeout=timeout)
            engine.check_integrity()
            logs.append(list(self.log))
        plain = self.results[0]
        for level in (1, 2):
            other = self.results[level]
            assert other.outputs == plain.outputs, f"-O{level}"
            check_errors(plain, other, f"-O{level}")
            assert set(map(key_of, other.calls)) <= set(map(key_of, plain.calls)), f"-O{level}"
            assert logs[level] == logs[0], f"-O{level}"
        return plain

    def values(self, cases: Sequence[tuple[str, str, Any]], declarations: str = "") -> None:
        """Check expressions, each with its type and value or Fails(message), as the outputs of one program."""
        outputs = ", ".join(f"v{n}: {type}" for n, (_, type, _) in enumerate(cases))
        returned = ",\n  ".join(expression for expression, _, _ in cases)
        result = self.run(f"{declarations}\nprogram Main() -> ({outputs}) {{\n  return {returned}\n}}\n")
        for n, (expression, _, wanted) in enumerate(cases):
            error = result.errors.get(f"v{n}")
            found = Fails(error.message) if error else result.outputs[f"v{n}"]
            assert repr(found) == repr(wanted), expression

    def check(self, source: str) -> list[Diagnostic]:
        """What checking finds."""
        self.write(source)
        return check_file(str(self.path)).diagnostics

    def codes(self, source: str) -> list[str]:
        """The codes of what checking finds."""
        return [d.code for d in self.check(source)]

    def shown(self, source: str) -> str:
        """What checking finds, as a user sees it."""
        return render_all(self.check(source))

    def prompts(self, result: RunResult) -> list[list[str]]:
        """The token texts of every call's prompt, in the order of site and index."""
        return [self.tokens(call.prompt_ids) for call in in_order(result)]

    def tokens(self, ids: tuple[int, ...]) -> list[str]:
        """The text of each token."""
        return [self.tokenizer.decode([i]) or f"<{i}>" for i in ids]

    def pieces(self, *texts: str) -> tuple[int, ...]:
        """The tokens of pieces, each tokenized by itself."""
        encode = self.tokenizer.encode_piece
        return tuple(token for at, text in enumerate(texts) for token in encode(text, first=at == 0))


@dataclass(frozen=True)
class Fails:
    """A failed output in a table of expected values."""

    message: str


def check_errors(plain: RunResult, other: RunResult, where: str) -> None:
    """Equal messages at equal places. An operation that was merged with others names the places of all."""
    assert {n: e.message for n, e in other.errors.items()} == {n: e.message for n, e in plain.errors.items()}, where
    for name, error in plain.errors.items():
        merged = other.errors[name]
        assert error.location in {merged.location, *(site.split(" < ")[0] for site in merged.sites)}, where


def key_of(call: CallRecord) -> tuple[object, ...]:
    """What may not differ between levels."""
    return call.output, call.sample, call.prompt_ids, call.output_ids, call.context_ids


def in_order(result: RunResult) -> list[CallRecord]:
    """Calls by place, indices, sample."""
    return sorted(result.calls, key=lambda call: (call.site, call.indices, call.sample))


class CommandLine:
    """Runs `semc` in process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command that must end with `code`; gives stdout."""
        found = main(list(arguments))
        captured = self.capsys.readouterr()
        self.out, self.err = captured.out, captured.err
        assert found == code, (found, self.out, self.err)
        return self.out

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """What `semc run --json` prints."""
        found: dict[str, Any] = json.loads(self("run", "--engine", "reference", "--json", *arguments, code=code))
        return found


@pytest.fixture
def fails() -> type[Fails]:
    """Stands for an error in a table of values."""
    return Fails


@pytest.fixture
def sem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sem]:
    """Runs source texts in a folder of their own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    one = Sem(tmp_path)
    yield one
    one.close()
    sys.modules.pop(HOST_MODULE, None)


@pytest.fixture
def semc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    return CommandLine(capsys)
