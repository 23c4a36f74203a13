"""What tests of the executor share: engine-level IR run on the reference engine or on a scripted one, and hosts."""

import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from semlang.backend.engine import (
    ROOT,
    Callbacks,
    Engine,
    EngineError,
    EngineStats,
    FillHint,
    Generation,
    Priority,
    SamplingOptions,
)
from semlang.backend.executor import RunHandle, RunOptions
from semlang.backend.reference import reference_engine
from semlang.backend.results import RunResult
from semlang.ir.core import Module
from semlang.ir.definition import Level
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.verifier import verify

HOST_MODULE = "executor_test_hosts"


class ByteTokenizer:
    """One token for each UTF-8 byte; each role opens with `<role>`."""

    vocabulary_size = 257
    eos_ids = frozenset({256})
    bos_id: int | None = None
    has_dummy_prefix = False
    longest_token_bytes = 1
    digest = "bytes"

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        return list(("^" + text if first and self.has_dummy_prefix else text).encode())

    def encode_scaffold(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, token_ids)).decode(errors="ignore")

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        return f"<{'/'.join((*roles_so_far, role))}>"


class ScriptedEngine:
    """An engine whose outputs are `answer(prompt, sampling)`: a text, an EngineError, or None for never.

    Answers come from a thread of their own, as soon as the call is there. It keeps the same books as a real engine:
    identifiers must be known, every context must be freed once.
    """

    name = "scripted"
    context_length = 1 << 20

    def __init__(self, answer: Callable[[str, SamplingOptions], str | EngineError | None]) -> None:
        self.tokenizer = ByteTokenizer()
        self.answer = answer
        self.contexts: dict[int, bytes] = {ROOT: b""}
        self.prompts: list[str] = []
        self.samplings: list[SamplingOptions] = []
        self.priorities: list[Priority] = []
        self.never: dict[int, Callbacks] = {}
        self.counters = EngineStats()

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, *, label: str = "",
             hint: FillHint = FillHint()) -> None:
        assert context_id not in self.contexts
        self.contexts[context_id] = self.contexts[parent_context_id] + bytes(token_ids)
        self.counters.filled_tokens += len(token_ids)

    def generate(self, sampling: SamplingOptions, context_id: int, parent_context_id: int, callbacks: Callbacks, *,
                 priority: Priority = Priority(), label: str = "") -> None:
        assert context_id not in self.contexts
        prompt = self.contexts[parent_context_id]
        self.prompts.append(prompt.decode())
        self.samplings.append(sampling)
        self.priorities.append(priority)
        answer = self.answer(prompt.decode(), sampling)
        self.contexts[context_id] = prompt
        if answer is None:
            self.never[context_id] = callbacks
        elif isinstance(answer, EngineError):
            threading.Thread(target=callbacks.on_error, args=(answer,)).start()
        else:
            ids = tuple(answer.encode())
            self.contexts[context_id] = prompt + bytes(ids)
            self.counters.generated_tokens += len(ids)
            if callbacks.on_text is not None:
                callbacks.on_text(answer)
            generation = Generation(answer, ids, (), ids, "eos")
            threading.Thread(target=callbacks.on_finish, args=(generation,)).start()

    def abort(self, context_id: int) -> None:
        callbacks = self.never.pop(context_id, None)
        if callbacks is not None:
            threading.Thread(target=callbacks.on_error, args=(EngineError("aborted"),)).start()

    def free_context(self, context_id: int) -> None:
        del self.contexts[context_id]

    def stats(self) -> EngineStats:
        return EngineStats(**vars(self.counters))

    def drain_events(self) -> list[Any]:
        return []

    def check_integrity(self) -> None:
        assert set(self.contexts) == {ROOT}, "contexts were not freed"

    def close(self) -> None:
        pass


class Execute:
    """Runs IR text and checks after every run that all contexts were freed."""

    def __init__(self, host_module: types.ModuleType) -> None:
        self.host_module = host_module
        self.engines: list[Engine] = []
        self.handle: RunHandle | None = None

    def engine(self, **options: Any) -> Any:
        """A reference engine that is closed after the test."""
        engine = reference_engine(**{"prefix_cache": False, **options})
        self.engines.append(engine)
        return engine

    def prepare(self, program: str | Module, arguments: Mapping[str, Any] | None = None, *,
                engine: Engine | None = None, engines: Mapping[str, Engine] | None = None, check: bool = True,
                **options: Any) -> RunHandle:
        module = program if isinstance(program, Module) else parse_module(SourceFile("test.sir", program))
        if check:
            verify(module, Level.ENGINE)
        if engines is None:
            engines = {"": engine if engine is not None else self.engine()}
        self.engines_of_run = list(engines.values())
        return RunHandle(module, engines, arguments or {}, RunOptions(**options))

    def __call__(self, program: str | Module, arguments: Mapping[str, Any] | None = None, **options: Any) -> RunResult:
        handle = self.handle = self.prepare(program, arguments, **options)
        result = handle.run()
        self.check_released(handle)
        return result

    def check_released(self, handle: RunHandle) -> None:
        """Every context was given up by the program itself, and the engine agrees."""
        assert handle.unreleased_contexts == 0
        for engine in self.engines_of_run:
            engine.check_integrity()


@pytest.fixture
def host() -> Iterator[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """A decorator that makes a function importable as `executor_test_hosts:NAME`."""
    module = types.ModuleType(HOST_MODULE)
    sys.modules[HOST_MODULE] = module

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(module, function.__name__, function)
        return function

    yield declare
    del sys.modules[HOST_MODULE]


@pytest.fixture
def execute() -> Iterator[Execute]:
    """Runs engine-level IR text."""
    runner = Execute(types.ModuleType(HOST_MODULE))
    yield runner
    for engine in runner.engines:
        engine.close()


@pytest.fixture
def scripted() -> type[ScriptedEngine]:
    """The scripted engine."""
    return ScriptedEngine
