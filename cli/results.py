"""What a run shows: outputs on stdout; errors, statistics and progress on stderr."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic, InputError, Label
from ..ir.rendering import to_json
from ..ir.source import SourceFile, Span
from ..ir.types import Enum, Option, Text, Type
from ..ir.values import RuntimeValue
from . import messages

if TYPE_CHECKING:
    from ..backend.events import RunEvent
    from ..backend.results import RunError, RunResult, RunStats

FAILED_OUTPUT = "E1107"
LINE_WIDTH = 100
_LOCATION = re.compile(r"(?P<path>.*):(?P<line>\d+):(?P<column>\d+)", re.DOTALL)
_PLACED = re.compile(r"(?P<location>.*?:\d+:\d+): (?P<message>.*)", re.DOTALL)
_WORD = re.compile(r"\w+|.")


def show_outputs(result: RunResult) -> None:
    """Print every output that was delivered; with headings when the program has several."""
    for number, (name, value) in enumerate(result.outputs.items()):
        if len(result.types) > 1:
            print(f"{'' if number == 0 else chr(10)}── {name} ──")
        print(shown(value, result.types[name]))


def shown(value: RuntimeValue, type: Type) -> str:
    """A value for people: text as it is, everything else as JSON, on one line where it fits."""
    inner = type.element if isinstance(type, Option) else type
    data = to_json(value, type)
    if value is not None and isinstance(inner, (Text, Enum)):
        return str(data)
    line = json.dumps(data, ensure_ascii=False)
    return line if len(line) <= LINE_WIDTH else json.dumps(data, ensure_ascii=False, indent=2)


def show_errors(errors: dict[str, RunError], sources: Iterable[SourceFile]) -> None:
    """Print each error with its place and the calls that led there; what several outputs failed with, once."""
    files = {source.path: source for source in sources}
    failed: dict[tuple[str, str], list[str]] = {}
    for name, error in errors.items():
        failed.setdefault((error.message, error.location), []).append(name)
    messages.show(error_diagnostic("`, `".join(names), errors[names[0]], files) for names in failed.values())


def error_diagnostic(name: str, error: RunError, files: dict[str, SourceFile]) -> Diagnostic:
    """The error of an output (or of a host with effects) as a diagnostic."""
    span = span_at(error.location, files)
    notes = [] if span is not None else [f"at {error.location}"]
    notes += [f"called from {site}" for chain in error.sites for site in chain.split(" < ")[1:]]
    notes += [f"computed once for {place} too" for chain in error.sites
              if (place := chain.split(" < ")[0]) != error.location]
    return Diagnostic(FAILED_OUTPUT, f"`{name}` failed: {error.message}", Label(span) if span else None, (),
                      tuple(dict.fromkeys(notes)))


def span_at(location: str, files: dict[str, SourceFile]) -> Span | None:
    """The word at `file:line:column`; None where the file is not known."""
    found = _LOCATION.fullmatch(location)
    source = files.get(found["path"]) if found else None
    if found is None or source is None or not 1 <= int(found["line"]) <= len(source.line_starts):
        return None
    start = source.line_starts[int(found["line"]) - 1] + int(found["column"]) - 1
    word = _WORD.match(source.text, start)
    return Span(source, start, word.end() if word else start)


@contextmanager
def placing(sources: Iterable[SourceFile]) -> Iterator[None]:
    """Errors of passes, which know of an operation only `file:line:column`, point into the source."""
    try:
        yield
    except InputError as error:
        files = {source.path: source for source in sources}
        raise InputError([_placed(diagnostic, files) for diagnostic in error.diagnostics]) from None


def _placed(diagnostic: Diagnostic, files: dict[str, SourceFile]) -> Diagnostic:
    found = _PLACED.fullmatch(diagnostic.message)
    span = span_at(found["location"], files) if found and diagnostic.primary is None else None
    return replace(diagnostic, message=found["message"], primary=Label(span)) if found and span else diagnostic


def show_stats(stats: RunStats) -> None:
    """Print the most telling counters in one line."""
    messages.note(
        f"{stats.calls} call{'s' * (stats.calls != 1)}, {stats.prompt_tokens} prompt tokens "
        f"({stats.filled_tokens} computed, "
        f"{stats.shared_tokens} shared), {stats.generated_tokens} generated in {stats.engine_steps} steps, "
        f"{stats.makespan_s:.2f} s")


def show_missed_deadlines(stats: RunStats) -> None:
    """Say which outputs came after their deadline; they are delivered all the same."""
    for name, seconds in stats.missed_deadlines.items():
        messages.note(f"`{name}` came {seconds:.2f} s after its deadline")


class Progress:
    """Counts calls on a terminal while a run goes on."""

    def __init__(self) -> None:
        self.started = self.ended = self.tokens = 0

    def __call__(self, event: RunEvent) -> None:
        """Take note of what happened."""
        from ..backend.events import CallEnded, CallStarted

        match event:
            case CallStarted():
                self.started += 1
            case CallEnded(generated_tokens=tokens):
                self.ended += 1
                self.tokens += tokens or 0
            case _:
                return
        messages.progress(f"{self.ended} of {self.started} calls, {self.tokens} tokens")
