"""What a command of `semc` is, and the argument parser that all of them use."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ..ir.diagnostics import InputError
from .options import USAGE


@dataclass(frozen=True)
class Command:
    """A command: `configure` adds its flags to a parser, `execute` does the work and gives the exit code."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    execute: Callable[[argparse.Namespace], int]


class CommandParser(argparse.ArgumentParser):
    """An argument parser that raises InputError instead of ending the process."""

    def __init__(self, command: Command) -> None:
        super().__init__(f"semc {command.name}", description=command.summary, allow_abbrev=False)
        self.add_argument("--no-color", action="store_true", help="no colours in messages (also: NO_COLOR=1)")
        command.configure(self)

    def error(self, message: str) -> NoReturn:
        """Report a wrong command line."""
        usage = " ".join(self.format_usage().split())
        raise InputError.of(USAGE, message, notes=[usage], fix=f"`{self.prog} --help` explains every flag")
