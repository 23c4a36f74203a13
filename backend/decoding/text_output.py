"""Where a text ends: before the earliest of EOS, stop match, word n+1 and the token budget; and what may be streamed.

Everything is decided character by character, so it does not depend on how the text is cut into tokens.
Of several stop strings, the one that is complete first wins (the longest of those that end together). The white
space before word n+1 belongs to that word.
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
        self.text = ""
        """The value so far (the whole value once finished)."""
        self._released = 0
        self._words = 0
        self._in_word = False
        self._space_start = 0
        """Where the white space after the latest word begins."""
        self.reason: str | None = None

    def push(self, characters: str) -> None:
        """Append decoded characters; sets `reason` to `stop` or `words` where the text ends."""
        if self._strip and characters:
            self._strip = False
            if characters[0] == " ":
                self.cut_space, characters = True, characters[1:]
        old = len(self.text)
        self.text += characters
        stop = self._find_stop(old)
        words = self._find_word_limit(old)
        if stop is not None and (words is None or stop[1] <= words[1]):
            self.text, self.reason = self.text[: stop[0]], "stop"
        elif words is not None:
            self.text, self.reason = self.text[: words[0]], "words"

    def _find_stop(self, old: int) -> tuple[int, int] | None:
        """Start and end of the stop match that is complete first, if any is complete now."""
        best: tuple[int, int] | None = None
        for stop in self._stop:
            start = self.text.find(stop, max(0, old - len(stop) + 1))
            if start >= 0:
                end = start + len(stop)
                if best is None or (end, start) < (best[1], best[0]):
                    best = (start, end)
        return best

    def _find_word_limit(self, old: int) -> tuple[int, int] | None:
        """Where the text ends because of the word limit, and the end of the character that shows it."""
        if self._max_words is None:
            return None
        for i in range(old, len(self.text)):
            if self.text[i].isspace():
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
        end = len(self.text)
        if self.reason is None:
            end -= self._held_back()
            if self._max_words is not None and self._words == self._max_words and not self._in_word:
                end = min(end, self._space_start)
        piece = self.text[self._released : max(end, self._released)]
        self._released += len(piece)
        return piece

    def _held_back(self) -> int:
        """Length of the longest end of the text that may still become a stop match."""
        for size in range(min(self._longest_stop - 1, len(self.text)), 0, -1):
            tail = self.text[-size:]
            if any(len(stop) > size and stop.startswith(tail) for stop in self._stop):
                return size
        return 0
