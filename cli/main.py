"""`semc`: picks the command, runs it, and turns what went wrong into a message and an exit code.

Exit codes: 0 done; 1 the program ran and failed; 2 the input is wrong (source, arguments, IR, configuration);
70 a defect of semc itself; 130 interrupted; 141 the reader of the output went away. `SEMC_DEBUG=1` shows the
traceback of a defect.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from io import TextIOWrapper

from ..ir.diagnostics import InputError
from . import messages
from .command import Command, CommandParser
from .options import NOT_BUILT, UNWRITABLE, USAGE

UNWRITABLE_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
DONE, FAILED, WRONG_INPUT, DEFECT, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 70, 130, 141

SUMMARIES = {
    "run": "compile a program and run it",
    "check": "report what is wrong with source files; run nothing",
    "explain": "say what the compiler knows of each call, and what each pass did",
    "compile": "print the intermediate representation of a program",
    "opt": "run passes over IR text",
    "test": "run the test blocks of source files",
    "fmt": "format source files in place",
    "passes": "list the passes and pipelines",
    "view": "write a page that shows a program, its compilation and a run",
    "profile": "measure the cost model of an engine",
    "bench": "compare compiled programs with request-by-request clients",
}
PLANNED = {
    "serve": "programs and completions over HTTP",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` without the program's name, `sys.argv` unless given. Gives the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    messages.use_color("--no-color" not in arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # whatever the locale; paths may hold bytes that are no UTF-8
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except InputError as error:
        with suppress(OSError):  # nobody may be there to read it
            messages.show(error.diagnostics)
        return WRONG_INPUT
    except KeyboardInterrupt:
        messages.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends; nobody is there to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in UNWRITABLE_OUTPUT or os.environ.get("SEMC_DEBUG"):
            return defect(error, arguments)
        with suppress(OSError):  # stderr may be what is full
            messages.show(InputError.of(UNWRITABLE, f"cannot write the output: {error.strerror}").diagnostics)
        for stream in (sys.stdout, sys.stderr):  # what is still buffered goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return WRONG_INPUT
    except RecursionError:
        messages.show(InputError.of("E0022", "the input is nested too deeply").diagnostics)
        return WRONG_INPUT
    except Exception as error:
        return defect(error, arguments)


def defect(error: Exception, arguments: Sequence[str]) -> int:
    """Report a defect of semc; with SEMC_DEBUG=1 its traceback."""
    if os.environ.get("SEMC_DEBUG"):
        raise error
    messages.defect(error, arguments)
    return DEFECT


def dispatch(arguments: list[str]) -> int:
    """Run the command that the first argument names."""
    name = arguments[0] if arguments else "--help"
    if name in {"-h", "--help", "help"}:
        print(overview())
        return DONE
    if name == "--version":
        from importlib.metadata import version

        print(f"semc {version('semlang')}")
        return DONE
    command = load(name)
    try:
        return command.execute(CommandParser(command).parse_args(arguments[1:]))
    except SystemExit as end:  # argparse ends so after --help
        return DONE if end.code is None else int(end.code)


def load(name: str) -> Command:
    """The command called `name`; only its own modules are imported."""
    match name:
        case "run":
            from .run import COMMAND
        case "check":
            from .check import COMMAND
        case "explain":
            from .explain import COMMAND
        case "compile":
            from .compile import COMMAND
        case "opt":
            from .opt import COMMAND
        case "test":
            from .test import COMMAND
        case "fmt":
            from .fmt import COMMAND
        case "view":
            from .view import COMMAND
        case "passes":
            from .passes import COMMAND
        case "bench":
            from .bench import COMMAND
        case "profile":
            from .profile import COMMAND
        case _ if name in PLANNED:
            raise InputError.of(NOT_BUILT, f"`semc {name}` ({PLANNED[name]}) is not built yet")
        case _:
            close = get_close_matches(name, SUMMARIES, 1)
            raise InputError.of(USAGE, f"there is no command `{name}`",
                                fix=f"did you mean `semc {close[0]}`?" if close else "`semc --help` lists the commands")
    return COMMAND


def overview() -> str:
    """The text of `semc --help`."""
    rows = [f"  {name:<9}{summary}" for name, summary in SUMMARIES.items()]
    rows += [f"  {name:<9}{summary} (not built yet)" for name, summary in PLANNED.items()]
    return "\n".join([
        "usage: semc COMMAND …", "", "An optimizing compiler and runtime for programs made of LLM calls.", "",
        "commands:", *rows, "", "`semc COMMAND --help` explains a command's flags.",
        "Exit codes: 0 done, 1 the program failed, 2 the input is wrong.",
    ])
