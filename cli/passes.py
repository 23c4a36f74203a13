"""`semc passes`: what passes there are and what each optimization level runs."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json

from .command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("names", nargs="*", metavar="PASS", help="print the page of these passes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    """Print the list, or the pages that were asked for."""
    from ..passes.pipelines import LEVELS
    from ..passes.registry import PASSES, pass_class

    classes = [pass_class(name) for name in arguments.names or PASSES]
    rows = [{
        "name": cls.name,
        "summary": page(cls).partition("\n")[0],
        "preserves": cls.preserves,
        "levels": sorted(level.value for level in cls.levels),
        "gives": cls.gives.value if cls.gives else None,
        "options": {f.name.replace("_", "-"): f.default for f in dataclasses.fields(cls)},
    } for cls in classes]
    if arguments.json:
        print(json.dumps({"passes": rows, "pipelines": {f"-O{n}": names for n, names in LEVELS.items()}}, indent=2))
    elif arguments.names:
        print("\n\n".join(f"{cls.name}\n\n{page(cls)}" for cls in classes))
    else:
        width = max(len(cls.name) for cls in classes) + 2
        for row in rows:
            print(f"{row['name']:<{width}}{row['summary']}")
        for level, names in LEVELS.items():
            print(f"\n-O{level}: {', '.join(names)}")
    return 0


def page(cls: type) -> str:
    """The documentation of a pass."""
    return inspect.cleandoc(cls.__doc__ or "")


COMMAND = Command("passes", "List the passes and what each optimization level runs.", configure, execute)
