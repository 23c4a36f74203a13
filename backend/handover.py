"""Hands the text of a running generate over to the prompt that waits for it, so that it is filled meanwhile.

A prompt whose fill has the attribute `stream` follows the generate of that piece as soon as everything before the
piece is known. Released text is tokenized as the whole piece would be, and the tokens but the last few, which more
text may still change, are filled in chunks into contexts of their own, each the parent of the next. When the text is
complete the fill goes on from the last of these contexts that holds the right tokens; the others are given up.
So the prompt's tokens are always those of the complete text, and what is computed in vain is counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.target import TokenizerError
from ..ir.values import Failure
from .cells import PENDING, Cell, Forward, Task
from .contexts import Context, encode, fill_attributes, is_root, new_identifier
from .engine import ROOT, Engine, FillHint

if TYPE_CHECKING:
    from .contexts import EngineBinding
    from .region_instance import OpTask

CHUNK_TOKENS = 16
"""Tokens that are handed over at once, at least."""
UNSTABLE_TOKENS = 4
"""Tokens at the end of a text that more text may change."""
SOON = FillHint(early=None, next_use=lambda: 1)


def fills_early(engine: Engine) -> bool:
    """Whether an engine computes fills before calls need them: only then is a handover worth anything."""
    return bool(getattr(engine, "fills_early", False))


@dataclass(frozen=True)
class Chunk:
    """A context with the first `end` tokens of what the fill adds."""

    identifier: int
    end: int


class TextStream:
    """The text of a running generate so far, and the prompts that follow it. Any thread may call."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        """Those that the text is going to be the value of."""
        self._lock = threading.Lock()
        self._parts: list[str] = []
        self._followers: list[Handover] = []

    def push(self, text: str) -> None:
        """More text is final."""
        with self._lock:
            self._parts.append(text)
            followers = list(self._followers)
        for follower in followers:
            follower.push(text)

    def add(self, follower: Handover) -> None:
        """`follower` gets the text so far and what is to come."""
        with self._lock:
            self._followers.append(follower)
            text = "".join(self._parts)
            if text:
                follower.push(text)


class Handover(Task):
    """One prompt that follows a text. Made with the fill's task; it starts when all before the piece is known."""

    __slots__ = ("_before", "_binding", "_chunks", "_closed", "_ids", "_lock", "_parent", "_space", "_text", "_tried",
                 "cell", "consumer", "piece", "used", "wasted")

    def __init__(self, consumer: OpTask, piece: int, queue: deque[Task]) -> None:
        super().__init__(queue)
        self.consumer = consumer
        self.piece = piece
        self.cell: Cell | None = None
        self.used = 0
        """Tokens that the fill goes on from."""
        self.wasted = 0
        """Tokens that were handed over in vain."""
        self._lock = threading.Lock()
        self._closed = False
        self._chunks: list[Chunk] = []
        self._ids: list[int] = []
        """What the last chunk holds."""
        self._text = ""
        self._tried = 0
        pending = [value for slot in consumer.layout.operands[: 1 + piece]
                   if type(value := consumer.instance.slots[slot]) is Cell and value.value is PENDING]
        self.wait_for(pending)
        if not pending:
            queue.append(self)

    def execute(self) -> None:
        """Everything before the piece is known: follow its text, unless that is complete."""
        task = self.consumer
        handovers = task.run.handovers
        if self._closed or handovers is None or not task.instance.slots:
            return
        parent, *before, value = task.raw_operands()[: 2 + self.piece]
        if not isinstance(value, Cell) or any(isinstance(known, Failure) for known in (parent, *before)):
            return
        self._parent: Context | None = None if is_root(parent) else parent
        binding = task.run.binding(str(task.op.attributes.get("model") or "")) if is_root(parent) else parent.binding
        if not fills_early(binding.engine):
            return
        self._binding: EngineBinding = binding
        spaced, roles = fill_attributes(task.op)
        try:
            self._before = encode(binding, self._parent, before, spaced=spaced, roles=roles)
        except TokenizerError:
            return  # the fill will report it
        self._space = " " if self.piece in spaced else ""
        self.cell = value
        handovers.follow(value, self)

    def push(self, text: str) -> None:
        """Take more of the text over."""
        with self._lock:
            self._text += text
            if self._closed or len(self._text) < self._tried + CHUNK_TOKENS:
                return
            self._tried = len(self._text)
            tokenizer = self._binding.engine.tokenizer
            try:
                piece = tokenizer.encode_piece(self._space + self._text, first=self._before.is_start)
            except TokenizerError:
                return
            stable = [*self._before.ids, *piece[: max(0, len(piece) - UNSTABLE_TOKENS)]]
            self._retreat(stable)
            if len(stable) >= len(self._ids) + CHUNK_TOKENS:
                self._extend(stable)

    def _retreat(self, ids: Sequence[int]) -> None:
        """Give up chunks that hold other tokens than `ids`."""
        right = _common_run(self._ids, ids)
        while self._chunks and self._chunks[-1].end > right:
            self._binding.engine.free_context(self._chunks.pop().identifier)
        end = self._chunks[-1].end if self._chunks else 0
        self.wasted += len(self._ids) - end
        del self._ids[end:]

    def _extend(self, ids: list[int]) -> None:
        """Hand over what `ids` add to the last chunk."""
        parent = self._chunks[-1].identifier if self._chunks else self._parent.identifier if self._parent else ROOT
        chunk = Chunk(new_identifier(), len(ids))
        label = f"{self.consumer.op.location} (streamed)"
        self._binding.engine.fill(ids[len(self._ids) :], chunk.identifier, parent, label=label, hint=SOON)
        self._chunks.append(chunk)
        self._ids = ids

    def finish(self, ids: Sequence[int]) -> Chunk | None:
        """The text is complete and the fill adds `ids`: the longest chunk that it goes on from, until `close`."""
        with self._lock:
            self._closed = True
            self._retreat(ids)
            self.used = len(self._ids)
            return self._chunks[-1] if self._chunks else None

    def close(self) -> None:
        """Give up all chunks."""
        with self._lock:
            self._closed = True
            self.wasted += len(self._ids) - self.used
            for chunk in self._chunks:
                self._binding.engine.free_context(chunk.identifier)
            self._chunks, self._ids = [], []
            self._parent = None


class Handovers:
    """The texts of a run that are being generated, and the prompts that wait for one. The run's own thread calls."""

    def __init__(self) -> None:
        self.handed_over = 0
        """Tokens of prompts that were filled while they were generated."""
        self.wasted = 0
        """Tokens that were filled so and then not used."""
        self._streams: dict[Cell, TextStream] = {}
        self._waiting: dict[Cell, list[Handover]] = {}
        self._open: dict[OpTask, Handover] = {}

    def expect(self, task: OpTask, piece: int, queue: deque[Task]) -> None:
        """The fill of `task` is to follow the text of `piece`."""
        self._open[task] = Handover(task, piece, queue)

    def follow(self, cell: Cell, handover: Handover) -> None:
        """The text is going to be the value of `cell`."""
        stream = self._streams.get(cell)
        if stream is not None:
            stream.add(handover)
        else:
            self._waiting.setdefault(cell, []).append(handover)

    def begin(self, cell: Cell) -> TextStream:
        """The generate that gives `cell`, and all cells that it is copied to, begins."""
        stream = TextStream()
        cells = [cell]
        while cells:
            found = cells.pop()
            self._streams[found] = stream
            stream.cells.append(found)
            for handover in self._waiting.pop(found, ()):
                stream.add(handover)
            waiters = found.waiters
            for waiter in waiters if isinstance(waiters, list) else (waiters,):
                if isinstance(waiter, Forward):
                    cells.append(waiter.target)
        return stream

    def end(self, stream: TextStream) -> None:
        """The generate has ended."""
        for cell in stream.cells:
            self._streams.pop(cell, None)

    def finish(self, task: OpTask, ids: Sequence[int]) -> Chunk | None:
        """What the fill of `task`, whose tokens are known now to be `ids`, goes on from; `done` ends the handover."""
        handover = self._open.get(task)
        return handover.finish(ids) if handover is not None else None

    def done(self, task: OpTask) -> None:
        """The fill was made, or failed."""
        handover = self._open.pop(task, None)
        if handover is None:
            return
        handover.close()
        if handover.cell is not None and handover in self._waiting.get(handover.cell, ()):
            self._waiting[handover.cell].remove(handover)
        self.handed_over += handover.used
        self.wasted += handover.wasted

    def close(self) -> None:
        """The run has ended."""
        for task in list(self._open):
            self.done(task)
        self._streams.clear()
        self._waiting.clear()


def _common_run(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    size = min(len(first), len(second))
    if first[:size] == second[:size]:
        return size
    return next(i for i in range(size) if first[i] != second[i])
