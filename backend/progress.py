"""One line of progress on a terminal, and nothing anywhere else."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Protocol

from .events import CallEnded, CallStarted, RunEvent, TextReleased

INTERVAL = 0.1
"""Seconds between two updates of the line."""


class Stream(Protocol):
    """What is needed of stderr."""

    def isatty(self) -> bool:
        """Whether this is a terminal."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> None:
        """Write what is buffered."""


class Progress:
    """Shows calls, tokens and the end of the newest text while a run goes on: `on_event=progress.event`.

    Leaving the `with` block removes the line.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._lock = threading.Lock()
        self._started = self._ended = self._tokens = 0
        self._began = time.monotonic()
        self._next = 0.0
        self._tail = ""

    def event(self, event: RunEvent) -> None:
        """Take notice of an event; any thread may call this."""
        if not self._shown:
            return
        with self._lock:
            match event:
                case CallStarted():
                    self._started += 1
                case CallEnded(generated_tokens=tokens):
                    self._ended += 1
                    self._tokens += tokens or 0
                case TextReleased(text=text):
                    self._tail = (self._tail + text)[-40:]
                case _:
                    pass
            if time.monotonic() >= self._next or self._ended == self._started:
                self._show()

    def _show(self) -> None:
        self._next = time.monotonic() + INTERVAL
        tail = " ".join(self._tail.split())
        seconds = time.monotonic() - self._began
        line = f"{self._ended} of {self._started} calls, {self._tokens} tokens, {seconds:.1f} s"
        self._stream.write(f"\r\x1b[K{line}" + (f"  …{tail}" if tail.isprintable() and tail else ""))
        self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        with self._lock:
            if self._shown:
                self._shown = False
                self._stream.write("\r\x1b[K")
                self._stream.flush()
