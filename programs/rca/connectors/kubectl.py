"""Questions to a cluster through kubectl. What only reads is allowed by name; everything else is denied unrun."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ..outcomes import (
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    Answer,
    Outcome,
    answer_of_text,
    clean,
    cut_with,
    failed,
    too_late,
)
from ..snapshots import directory, keep_file
from .interface import iso

VERBS = frozenset({"get", "describe", "logs", "events", "top", "version", "api-resources"})

FLAGS = frozenset({"-A", "--all-namespaces", "--previous", "-p", "--timestamps", "--all-containers", "--show-labels",
                   "--containers", "--no-headers", "--prefix"})
"""Flags without a value."""

OPTIONS = frozenset({"-n", "--namespace", "-l", "--selector", "--field-selector", "-c", "--container", "--tail",
                     "--since", "--since-time", "--sort-by", "--for", "--types", "--limit-bytes", "-o", "--output"})
"""Flags with a value."""

FORMATS = frozenset({"wide", "yaml", "json", "name"})
"""Values of `--output`; the others can read files of this machine."""

WORD = re.compile(r"[A-Za-z0-9][\w./:,@=-]*")
VALUE = re.compile(r"[\w.{\[][\w./:,@=!()\[\]{}\"' -]*")
HIDDEN = frozenset({"secret", "secrets"})
"""Resources whose content is nobody's evidence."""

KEPT_BYTES = 256_000_000
NOTHING = re.compile(r"No resources found|No events found|\(NotFound\)|previous terminated container .* not found")
FORBIDDEN = re.compile(r"\(Forbidden\)|\(Unauthorized\)|You must be logged in|is forbidden")


class Kubectl:
    """The program `command` with the context `context` of its configuration, or the current one."""

    def __init__(self, command: str = "kubectl", context: str = "") -> None:
        self.command, self.context = command, context

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """What kubectl prints for the arguments in `query`, see `interface.py`. It tells of now."""
        try:
            arguments = allowed_arguments(query)
        except PermissionError as error:
            return failed(str(error), Outcome.DENIED)
        context = ["--context", self.context] if self.context else []
        command = [self.command, *context, f"--request-timeout={max(1, int(deadline))}s", *arguments]
        with tempfile.NamedTemporaryFile(dir=directory(), delete=False) as file, tempfile.TemporaryFile() as errors:
            path = Path(file.name)
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=errors,
                                           start_new_session=True)
            except OSError as error:
                path.unlink()
                return failed(f"kubectl cannot be run: {error}")
            code = _wait(process, path, time.monotonic() + deadline)
            errors.seek(0)
            message = clean(errors.read(2_000).decode("utf-8", "replace"))
        try:
            answer = too_late("kubectl", deadline) if code is None else _answer(path, code, message)
            return replace(answer, time=iso(time.time()))
        finally:
            path.unlink(missing_ok=True)


def allowed_arguments(query: str) -> list[str]:
    """The arguments in `query`, which only read. Raises PermissionError with one line that names what is denied."""
    try:
        arguments = shlex.split(query)
    except ValueError as error:
        raise PermissionError(f"the query cannot be read: {error}") from None
    if not arguments or arguments[0] not in VERBS:
        found = f"`kubectl {arguments[0]}`" if arguments else "an empty query"
        raise PermissionError(f"{found} is not allowed: only {', '.join(sorted(VERBS))} are")
    rest = iter(arguments[1:])
    for argument in rest:
        if not argument.startswith("-"):
            if not WORD.fullmatch(argument):
                raise PermissionError(f"the argument {argument!r} is not allowed")
            if arguments[0] != "logs" and HIDDEN & set(re.split(r"[,/.]", argument.lower())):
                raise PermissionError("secrets are not read")
            continue
        name, separator, value = argument.partition("=")
        if argument in FLAGS:
            continue
        if name not in OPTIONS:
            raise PermissionError(f"the flag {name} is not allowed")
        value = value if separator else next(rest, "")
        if not VALUE.fullmatch(value) or (name in ("-o", "--output") and value not in FORMATS):
            raise PermissionError(f"the value {value!r} of {name} is not allowed")
        if name == "--for" and HIDDEN & set(re.split(r"[,/.]", value.lower())):
            raise PermissionError("secrets are not read")
    return arguments


def _wait(process: subprocess.Popen[bytes], path: Path, end: float) -> int | None:
    """The exit code, 0 when it was stopped for writing too much, None when time ran out."""
    while True:
        try:
            return process.wait(0.05)
        except subprocess.TimeoutExpired:
            late, long = time.monotonic() > end, path.stat().st_size > KEPT_BYTES
            if late or long:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return None if late else 0


def _answer(path: Path, code: int, message: str) -> Answer:
    size = path.stat().st_size
    with path.open("rb") as file:
        if code != 0:
            reason = message or clean(file.read(2_000).decode("utf-8", "replace"))
            return of_failure(reason, code)
        if size == 0:
            return Answer(Outcome.EMPTY, message.strip())
        if size <= HEAD_CHARACTERS + TAIL_CHARACTERS:
            return answer_of_text(file.read().decode("utf-8", "replace"))
        head = file.read(HEAD_CHARACTERS)
        file.seek(-TAIL_CHARACTERS, 2)
        tail = file.read()
    first, last = (clean(part.decode("utf-8", "replace")) for part in (head, tail))
    return cut_with(Answer(Outcome.OK), first, last, size, keep_file(path))


def of_failure(message: str, code: int) -> Answer:
    """The answer of a kubectl that ended with `code`, not 0, and said `message`."""
    if FORBIDDEN.search(message):
        return failed(message, Outcome.DENIED)
    if NOTHING.search(message):
        return Answer(Outcome.EMPTY, message.strip())
    return failed(f"kubectl ended with {code}: {message}")
