"""Prompts as the compiler makes them: programs run on an engine that writes given answers and keeps every token."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....backend.engine import ROOT, Callbacks, EngineStats, FillHint, Generation, Priority, SamplingOptions
from ....backend.executor import run_module
from ....frontend.compile import compile_file
from ....ir.target import ModelTarget, Target, Tokenizer
from ....ir.types import Text
from ....passes.manager import run_pipeline
from ....passes.pipelines import pipeline
from .questions import Question

CONTEXT_LENGTH = 1 << 16

@dataclass(frozen=True)
class Lesson:
    """The tokens of a prompt with its answers; `written` says which of them are of answers.

    `choices`: where answers begin that are one of a few, or a value of a type.
    """

    ids: tuple[int, ...]
    written: tuple[bool, ...]
    choices: tuple[int, ...] = ()


class TeacherEngine:
    """Writes `answers`, one for each output in their order. `lesson`: the longest prompt so far, with what was written.

    An answer stands after one space where the prompt ends in one, as models write it. It ends with EOS unless its
    options end it: choices and types are complete by themselves.
    """

    name = "teacher"
    context_length = CONTEXT_LENGTH

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.answers: list[str] = []
        self._eos = min(tokenizer.eos_ids)
        start = () if tokenizer.bos_id is None else (tokenizer.bos_id,)
        self._contexts: dict[int, Lesson] = {ROOT: Lesson(start, (False,) * len(start))}
        self._lock = threading.Lock()
        self.lesson = Lesson((), ())

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, *, label: str = "",
             hint: FillHint = FillHint()) -> None:
        """As any engine."""
        with self._lock:
            parent = self._contexts[parent_context_id]
            self._contexts[context_id] = Lesson(parent.ids + tuple(token_ids),
                                                parent.written + (False,) * len(token_ids), parent.choices)

    def generate(self, sampling: SamplingOptions, context_id: int, parent_context_id: int, callbacks: Callbacks, *,
                 priority: Priority = Priority(), label: str = "") -> None:
        """As any engine; the answer is there at once."""
        with self._lock:
            parent = self._contexts[parent_context_id]
            text = self.answers.pop(0)
            ids = tuple(self.tokenizer.encode_piece((" " if sampling.strip_leading_space else "") + text, first=False))
            free = sampling.choices is None and (sampling.type is None or isinstance(sampling.type, Text))
            begins = parent.choices if free else (*parent.choices, len(parent.ids))
            done = Lesson(parent.ids + ids, parent.written + (True,) * len(ids), begins)
            self._contexts[context_id] = done
            self.lesson = Lesson((*done.ids, self._eos), (*done.written, True), begins) if free else done
        generation = Generation(text, ids, (), ids, "eos")
        threading.Thread(target=callbacks.on_finish, args=(generation,)).start()

    def abort(self, context_id: int) -> None:
        """Nothing runs."""

    def free_context(self, context_id: int) -> None:
        """As any engine."""
        with self._lock:
            del self._contexts[context_id]

    def stats(self) -> EngineStats:
        """Nothing is counted."""
        return EngineStats()

    def drain_events(self) -> list[Any]:
        """Nothing is traced."""
        return []

    def check_integrity(self) -> None:
        """All contexts were given back."""
        assert set(self._contexts) == {ROOT}

    def close(self) -> None:
        """Nothing is open."""


class Teacher:
    """Makes lessons of questions. Each program of `lessons.sem` is compiled once, without optimizations."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._modules: dict[str, Any] = {}

    def lesson(self, question: Question) -> Lesson:
        """The prompt of a question with the answers in it."""
        if question.function not in self._modules:
            program = "Learn" + question.function
            module = compile_file(str(Path(__file__).with_name("lessons.sem")), program=program).module
            run_pipeline(module, pipeline(0), Target({"": ModelTarget(self._tokenizer, CONTEXT_LENGTH)}))
            self._modules[question.function] = module
        engine = TeacherEngine(self._tokenizer)
        engine.answers = list(question.answers.values())
        result = run_module(self._modules[question.function], {"": engine}, question.arguments)
        assert not result.errors, result.errors
        return engine.lesson
