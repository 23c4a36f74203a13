"""Comments and empty lines of a file by the token that they stand at."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ast import Comment
from .tokens import Token


@dataclass
class Trivia:
    """What stands around a token: own-line comments before it, an empty line before those, a comment behind it."""

    leading: list[tuple[str, bool]] = field(default_factory=list)
    """Comments with whether an empty line stands before each."""
    blank_before: bool = False
    """Whether an empty line stands before the token, or between it and its last leading comment."""
    trailing: str | None = None

    @property
    def starts_after_blank(self) -> bool:
        """Whether an empty line stands before the token and its comments."""
        return self.leading[0][1] if self.leading else self.blank_before


def attach_trivia(text: str, tokens: list[Token], comments: list[Comment]) -> tuple[dict[int, Trivia], Trivia]:
    """Trivia by token offset, and what stands behind the last token."""
    found: dict[int, Trivia] = {}
    pending = iter([*comments, None])
    comment = next(pending)
    end = 0  # of what came before
    previous: Trivia | None = None
    for token in [*tokens, None]:
        start = len(text) if token is None else token.start
        trivia = Trivia()
        while comment is not None and comment.span.start < start:
            is_blank = _has_blank_line(text, end, comment.span.start)
            if comment.own_line or previous is None:
                trivia.leading.append((comment.text, is_blank))
            else:
                previous.trailing = comment.text
            end = comment.span.end
            comment = next(pending)
        trivia.blank_before = _has_blank_line(text, end, start)
        if token is None:
            return found, trivia
        found[token.start] = previous = trivia
        end = token.end
    raise AssertionError("the loop ends at None")


def _has_blank_line(text: str, start: int, end: int) -> bool:
    return text.count("\n", start, end) > 1
