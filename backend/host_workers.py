"""Threads for host functions, and one event loop for host coroutines. None of them keeps the process alive."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

MAXIMUM_THREADS = 32


class WorkerPool:
    """Runs jobs in daemon threads, which are made when they are needed, at most `limit` at a time.

    A thread whose job was abandoned no longer counts, so jobs that never end cannot block the others.
    """

    def __init__(self, limit: int = MAXIMUM_THREADS) -> None:
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._idle = 0
        self._threads = 0
        self._closed = False
        self._wake = threading.Condition()

    def submit(self, work: Callable[[], None]) -> Job:
        """Run `work`, which handles its own exceptions, in some thread."""
        job = Job(work)
        with self._wake:
            self._jobs.append(job)
            if self._idle >= len(self._jobs):
                self._wake.notify()
            elif self._threads < self._limit:
                self._start_thread()
        return job

    def abandon(self, job: Job) -> None:
        """Nobody waits for `job` any more: do not begin it, or let another thread take the place of its own."""
        with self._wake:
            if job.abandoned or job.finished:
                return
            job.abandoned = True
            if job.started:
                self._threads -= 1
                if self._jobs and self._threads < self._limit:
                    self._start_thread()
            else:
                self._jobs.remove(job)

    def close(self) -> None:
        """End idle threads now and others after their job."""
        with self._wake:
            self._closed = True
            self._jobs.clear()
            self._wake.notify_all()

    def _start_thread(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name="semlang-host", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._idle += 1
                while not self._jobs and not self._closed:
                    self._wake.wait()
                self._idle -= 1
                if self._closed:
                    self._threads -= 1
                    return
                job = self._jobs.popleft()
                job.started = True
            job.work()
            with self._wake:
                job.finished = True
                if job.abandoned:
                    return


class Job:
    """One call of `WorkerPool.submit`."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.started = False
        self.finished = False
        self.abandoned = False


class CoroutineLoop:
    """An event loop in a daemon thread, made when the first coroutine needs it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run `coroutine`, which handles its own exceptions; returns a function that cancels it."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run_forever, args=(self._loop,), name="semlang-coroutines",
                                            daemon=True)
            self._thread.start()
        loop = self._loop
        started: list[asyncio.Task[None]] = []

        def begin() -> None:
            task = loop.create_task(coroutine)
            started.append(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(begin)
        return lambda: None if loop.is_closed() else _call_soon(loop, lambda: [task.cancel() for task in started])

    def close(self, timeout: float = 2.0) -> None:
        """Cancel what still runs and stop the loop; a coroutine that blocks its thread is left behind."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = None
        _call_soon(loop, lambda: loop.create_task(self._stop(loop)))
        thread.join(timeout)

    async def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.stop()


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> None:
    with suppress(RuntimeError):  # the loop may be closed, so there is nothing to cancel
        loop.call_soon_threadsafe(function)
