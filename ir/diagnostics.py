"""Diagnostics: what is wrong with an input, where, and what to do about it. Rendered like rustc's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .source import Span


@dataclass(frozen=True)
class Label:
    """A span with a few words under its carets."""

    span: Span
    text: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning. `code` is stable (`E0101`), `fix` says what to write instead."""

    code: str
    message: str
    primary: Label | None = None
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    fix: str | None = None
    severity: str = "error"


@dataclass
class Diagnostics:
    """A list to which every stage reports; stages go on after an error."""

    items: list[Diagnostic] = field(default_factory=list)

    def error(self, code: str, message: str, span: Span | None, label: str = "", *,
              notes: Iterable[str] = (), fix: str | None = None, labels: Iterable[Label] = ()) -> None:
        """Report an error at `span`."""
        primary = Label(span, label) if span else None
        self.items.append(Diagnostic(code, message, primary, tuple(labels), tuple(notes), fix))

    def warning(self, code: str, message: str, span: Span | None, label: str = "", *,
                notes: Iterable[str] = (), fix: str | None = None) -> None:
        """Report a warning at `span`."""
        primary = Label(span, label) if span else None
        self.items.append(Diagnostic(code, message, primary, (), tuple(notes), fix, "warning"))

    @property
    def has_errors(self) -> bool:
        """Whether any item is an error."""
        return any(d.severity == "error" for d in self.items)

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.items)


class InputError(Exception):
    """The input is wrong: the command ends with exit code 2 after printing `diagnostics`."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = list(diagnostics)
        super().__init__("; ".join(d.message for d in self.diagnostics))

    @staticmethod
    def of(code: str, message: str, span: Span | None = None, *, notes: Iterable[str] = (),
           fix: str | None = None) -> InputError:
        """An input error with a single diagnostic."""
        return InputError([Diagnostic(code, message, Label(span) if span else None, (), tuple(notes), fix)])
