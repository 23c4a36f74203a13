"""What became of a query: five outcomes, and answers that are cut when they are too long."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

HEAD_CHARACTERS, TAIL_CHARACTERS = 6_000, 2_000
"""What stays of a text that is longer than both together."""
NOTE_CHARACTERS = 200
"""The line between them is shorter."""


class Outcome(StrEnum):
    """`empty` is an answer with nothing in it: no sign of health. The others but `ok` say that nothing is known."""

    OK = "ok"
    EMPTY = "empty"
    ERROR = "error"
    DENIED = "denied"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Answer:
    """What a connector gives: an outcome, a table of names and values, a text, and the time that it tells of.

    `time` is UTC in ISO 8601, "" for unknown. The text of `error`, `denied` and `timeout` is the reason.
    """

    outcome: Outcome
    text: str = ""
    table: dict[str, str] = field(default_factory=dict)
    time: str = ""


def failed(reason: str, outcome: Outcome = Outcome.ERROR) -> Answer:
    """An answer that says why there is none, in one line of at most 500 characters."""
    line = " ".join(reason.split())
    return Answer(outcome, line if len(line) <= 500 else line[:499] + "…")


def too_late(what: str, deadline: float) -> Answer:
    """The answer of `what`, which was not there after `deadline` seconds."""
    return failed(f"{what} gave no complete answer within {deadline:g} s", Outcome.TIMEOUT)


def answer_of_text(text: str, table: dict[str, str] | None = None, time: str = "") -> Answer:
    """`ok` with a text, cut if it is long; `empty` if it is white space."""
    text = clean(text)
    if not text.strip():
        return Answer(Outcome.EMPTY, "", {}, time)
    return cut(Answer(Outcome.OK, text, dict(table or {}), time))


def clean(text: str) -> str:
    """`text` without what no text value may hold and no reader can see: lone surrogates, NUL, colours of terminals."""
    from re import sub
    text = text.encode("utf-8", "replace").decode()
    return sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", "", text.replace("\r\n", "\n"))


def cut(answer: Answer) -> Answer:
    """The same answer with a text that is not too long: its head, a line that says what is missing, its tail.

    The whole text is kept as a snapshot, whose key is in that line and in the table.
    """
    from .snapshots import keep
    text = answer.text
    longest = HEAD_CHARACTERS + TAIL_CHARACTERS
    if len(text) <= longest or ("snapshot" in answer.table and len(text) <= longest + NOTE_CHARACTERS):
        return answer
    return cut_with(answer, text[:HEAD_CHARACTERS], text[-TAIL_CHARACTERS:], len(text.encode()), keep(text.encode()))


def cut_with(answer: Answer, head: str, tail: str, size: int, key: str) -> Answer:
    """`answer` with the ends of a text of `size` bytes, the whole of which is the snapshot `key`.

    Whatever is cut in two goes, as half a secret is not recognised as one.
    """
    head, tail = head[:_last_border(head)], tail[_first_border(tail):]
    note = f"[cut: {size} bytes in all; the whole is snapshot {key}]"
    table = answer.table | {"cut": "yes", "bytes": str(size), "snapshot": key}
    return Answer(answer.outcome, f"{head}\n{note}\n{tail}", table, answer.time)


def _last_border(head: str) -> int:
    """Where the last whole line ends, or the last whole part of a line that is too long."""
    for border in ("\n", '"', " "):
        found = head.rfind(border)
        if found >= len(head) // 2:
            return found
    return len(head)


def _first_border(tail: str) -> int:
    quote = tail.find('"')
    found = tail.find("\n")
    if found < 0:
        found = quote if 0 <= quote <= len(tail) // 2 else tail.find(" ")
    return found + 1 if found >= 0 else len(tail)
