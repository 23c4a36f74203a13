"""Flags that several commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..ir.diagnostics import Diagnostics, InputError
from ..ir.source import SourceFile

USAGE = "E1101"
ENGINES = ("torch", "reference", "simulate")
DTYPES = ("auto", "bfloat16", "float32", "float16")
WEIGHTS = ("stored", "int8")
MOST_ENGINES = 10_000
PLANNED_ENGINES = ("openai", "dynamo")
NOT_BUILT = "E1102"
UNWRITABLE = "E1104"
ARGUMENT = "E1105"


def add_level(parser: argparse.ArgumentParser) -> None:
    """`-O0`, `-O1`, `-O2`, and what passes may change besides: `--allow`."""
    parser.add_argument("-O", dest="level", type=int, choices=(0, 1, 2), default=2, metavar="LEVEL",
                        help="optimization level: -O0 lowers only, -O2 (default) runs every pass that keeps all tokens")
    parser.add_argument("--allow", action="append", default=[], choices=("text",),
                        help="text: run the pass order-fields too, which reorders what the source calls `unordered`")


def add_program(parser: argparse.ArgumentParser) -> None:
    """`--program`."""
    parser.add_argument("--program", metavar="NAME", help="the program to take, where the file holds several")


def add_models(parser: argparse.ArgumentParser) -> None:
    """`--engine`, `--model`, `--device`, `--dtype`, `--weights`, `--config`."""
    parser.add_argument("--engine", type=engine_name, metavar="ENGINE",
                        help="torch (default); reference, a deterministic stand-in for a model; or simulate, the same "
                             "texts in virtual time; torch:4 is four engines that share the work")
    parser.add_argument("--model", action="append", default=[], metavar="[ALIAS=]DIR|ID",
                        help="the default model, or with ALIAS= the model that an alias of the program stands for; "
                             "without it SEMC_MODEL, the configuration, and then a small embedded model")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where the torch engine computes (default: cpu)")
    parser.add_argument("--dtype", choices=DTYPES, help="what the torch engine computes in (default: auto, which is "
                        "bfloat16 where the device computes it, and float32 for the embedded model)")
    parser.add_argument("--weights", choices=WEIGHTS, help="int8: linear layers keep their weights in 8 bits, which "
                        "changes texts a little (CPU only; default: as they are stored)")
    parser.add_argument("--config", metavar="FILE", help="configuration (default: semc.toml beside the program)")


def engine_name(text: str) -> str:
    """An engine that is built; a clear error for one that is only planned."""
    kind = text.partition(":")[0]
    if kind in PLANNED_ENGINES:
        raise InputError.of(NOT_BUILT, f"the engine `{kind}` is not built yet", fix="use --engine torch or reference")
    if kind not in ENGINES:
        raise InputError.of(USAGE, f"there is no engine `{text}`", fix=f"the engines are {', '.join(ENGINES)}")
    count = text.partition(":")[2]
    if text != kind and not (count.isascii() and count.isdecimal() and 1 <= int(count) <= MOST_ENGINES):
        raise InputError.of(USAGE, f"`{text}` is no engine: after `{kind}:` comes how many engines there are, from 1 "
                                   f"to {MOST_ENGINES}")
    return text


def read_source(path: str) -> SourceFile:
    """The text of a file, or of stdin for `-`. InputError when it cannot be read or is not UTF-8."""
    from ..frontend import source_reader

    diagnostics = Diagnostics()
    source = source_reader.read_source(path, diagnostics)
    if source is None:
        raise InputError(diagnostics)
    return source


def check_writable(path: str | None) -> None:
    """InputError unless a file can be written at `path`: better now than after a long run. Leaves no file behind."""
    if path is None or path == "-":
        return
    try:
        try:
            Path(path).open("x").close()
        except FileExistsError:
            Path(path).open("a").close()
        else:
            Path(path).unlink()
    except OSError as error:
        raise InputError.of(UNWRITABLE, f"cannot write {path}: {error.strerror}") from None


def write_output(path: str | None, text: str) -> None:
    """Write text to a file, or to stdout without one."""
    if path is None or path == "-":
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError.of(UNWRITABLE, f"cannot write {path}: {error.strerror}") from None
