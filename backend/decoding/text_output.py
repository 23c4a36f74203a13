"""Where a text ends: before the earliest of EOS, stop match, word n+1 and the token budget; and what may be streamed.

Everything is decided character by character, so it does not depend on how the text is cut into tokens.
Of several stop strings, the one that is complete first wins (the longest of those that end together). The white
space before word n+1 belongs to that word. What a piece costs does not depend on how long the text is already.
"""

from __future__ import annotations


class TextOutput:
    """The text of one output so far. `stop`: stop strings; `max_words`: None or a number of words."""

    def __init__(self, stop: tuple[str, ...], max_words: int | None, *, strip_leading_space: bool) -> None:
        self._stop = stop
        self._longest_stop = max(map(len, stop), default=0)
        self._max_words = max_words
        self._strip = strip_leading_space
        self.cut_space = False
        """Whether a leading space was cut."""
        self._pieces: list[str] = []
        self._length = 0
        self._kept: list[str] = []
        """Pieces of what has not been released."""
        self._released = 0
        self._tail = ""
        """The end of the text that a stop match may begin in."""
        self._words = 0
        self._in_word = False
        self._space_start = 0
        """Where the white space after the latest word begins."""
        self.reason: str | None = None

    @property
    def ends_itself(self) -> bool:
        """Whether the text may end by what it says: each piece has to be pushed as soon as it is there."""
        return bool(self._stop) or self._max_words is not None

    @property
    def text(self) -> str:
        """The value so far (the whole value once finished)."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def push(self, characters: str) -> None:
        """Append decoded characters; sets `reason` to `stop` or `words` where the text ends."""
        if self._strip and characters:
            self._strip = False
            if characters[0] == " ":
                self.cut_space, characters = True, characters[1:]
        old = self._length
        self._length += len(characters)
        self._pieces.append(characters)
        self._kept.append(characters)
        stop = self._find_stop(characters, old) if self._stop else None
        words = self._find_word_limit(characters, old)
        if stop is not None and (words is None or stop[1] <= words[1]):
            self._cut(stop[0], "stop")
        elif words is not None:
            self._cut(words[0], "words")

    def _cut(self, end: int, reason: str) -> None:
        text = self.text[:end]
        self._pieces, self._kept, self._length, self.reason = [text], [text[self._released :]], end, reason

    def _find_stop(self, characters: str, old: int) -> tuple[int, int] | None:
        """Start and end of the stop match that is complete first, if any is complete now."""
        text, first = self._tail + characters, old - len(self._tail)
        best: tuple[int, int] | None = None
        for stop in self._stop:
            start = text.find(stop, max(0, len(self._tail) - len(stop) + 1))
            if start >= 0:
                end = start + len(stop)
                if best is None or (end, start) < (best[1], best[0]):
                    best = (start, end)
        self._tail = text[len(text) - min(self._longest_stop - 1, len(text)) :]
        return None if best is None else (first + best[0], first + best[1])

    def _find_word_limit(self, characters: str, old: int) -> tuple[int, int] | None:
        """Where the text ends because of the word limit, and the end of the character that shows it."""
        if self._max_words is None:
            return None
        for i, character in enumerate(characters, old):
            if character.isspace():
                if self._in_word:
                    self._in_word, self._space_start = False, i
            elif not self._in_word:
                if self._words == self._max_words:
                    return (self._space_start if self._words else 0), i + 1
                self._in_word, self._words = True, self._words + 1
        return None

    def finish(self, reason: str) -> None:
        """The model or the budget ended the text."""
        self.reason = self.reason or reason

    def take(self) -> str:
        """Text that has become final since the last call."""
        end = self._length
        if self.reason is None:
            end -= self._held_back()
            if self._max_words is not None and self._words == self._max_words and not self._in_word:
                end = min(end, self._space_start)
        kept = "".join(self._kept)
        piece = kept[: max(0, end - self._released)]
        self._released += len(piece)
        self._kept = [kept[len(piece) :]]
        return piece

    def _held_back(self) -> int:
        """Length of the longest end of the text that may still become a stop match."""
        for size in range(len(self._tail), 0, -1):
            tail = self._tail[-size:]
            if any(len(stop) > size and stop.startswith(tail) for stop in self._stop):
                return size
        return 0
