"""Engines in processes of their own, asked by lines of JSON; and who used the processor meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, BinaryIO

TICKS = os.sysconf("SC_CLK_TCK")


class EngineError(Exception):
    """The engine cannot do what was asked; the message is its own."""


class TooSlow(Exception):
    """It took longer than allowed, and was ended."""


class EngineProcess:
    """`log` gets its stderr. It has to be started; `end` is safe at any time."""

    def __init__(self, command: list[str], variables: dict[str, str], log: Path) -> None:
        self._command, self._variables, self._log = command, variables, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                             env=self._variables, start_new_session=True)

    def ask(self, question: dict[str, Any], limit: float) -> dict[str, Any]:
        """The answer, within `limit` seconds. Raises EngineError, or TooSlow after ending the process."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EngineError("not started")
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            process.stdin.flush()
            line = _read_line(process.stdout, limit)
        except TooSlow:
            self.end()
            raise
        except BrokenPipeError:
            line = b""
        if not line:
            code = process.wait()  # its stdout is closed, so it is about to end
            self.end()
            raise EngineError(f"its process ended with code {code}; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"])
        return answer

    def cpu_seconds(self) -> float:
        """Processor time of the process so far; 0 where the system does not tell."""
        if self._process is None:
            return 0.0
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return sum(map(int, fields[11:15])) / TICKS  # user and system, its own and its ended children's
        return 0.0

    def end(self) -> None:
        """End the process and those that it started, at once."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process = None


def _read_line(stream: Any, limit: float) -> bytes:
    """Up to the end of a line, or what there is at the end of the stream."""
    source: BinaryIO = stream
    until = time.monotonic() + limit
    parts = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while not parts.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TooSlow(f"more than {limit:g} s")
            part = os.read(source.fileno(), 1 << 16)
            if not part:
                break
            parts += part
    return bytes(parts)


def machine_busy_seconds() -> float:
    """Processor time of everything on the machine so far, all cores; 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        user, nice, system, _idle, _wait, irq, soft, steal = map(int, fields)
        return (user + nice + system + irq + soft + steal) / TICKS
    return 0.0
