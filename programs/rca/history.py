"""`python -m semlang.programs.rca.history incidents.jsonl --store history.db`: past incidents go into a history.

A line is an object with `id`, `time`, `text` (or `parts`, texts by name) and, where they are known, `category`,
`summary`, `kind`, `confirmed`, `steps` (what was looked at: objects with `action` and `result`).
Other commands look at a history and put right what it says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .clean import MOST_KEPT_WORDS, clean_masked
from .embedding import EmbeddingError
from .paths import kept
from .store import Entry, Store, StoreError

COMMANDS = ("import", "list", "confirm", "rename", "train")


def parser() -> argparse.ArgumentParser:
    """The command line; a first word that is no command is a file to import."""
    root = argparse.ArgumentParser(prog="history", description="The history of incidents that predictions look into.")
    commands = root.add_subparsers(dest="command", required=True)
    read = _command(commands, "import", "add incidents, then train the embedding")
    read.add_argument("file", help="incidents, one JSON object a line; - is stdin")
    _add_training(read)
    listing = _command(commands, "list", "show incidents and categories")
    listing.add_argument("--json", action="store_true", help="incidents, one JSON object a line, as import reads them")
    confirm = _command(commands, "confirm", "say what the category of an incident is")
    confirm.add_argument("id")
    confirm.add_argument("category")
    rename = _command(commands, "rename", "rename a category, or merge it into one that exists")
    rename.add_argument("old")
    rename.add_argument("new")
    _add_training(_command(commands, "train", "train the embedding and fit the decay anew"))
    return root


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    command.add_argument("--store", required=True, metavar="FILE.db", help="the history")
    return command


def decay_rate(text: str) -> float:
    """A rate per day, from 0 on."""
    rate = float(text)
    if not 0 <= rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no rate of decay; give 0 or more, per day")
    return rate


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--embedding", metavar="NAME",
                         help="fasttext, tfidf or sentence:DIRECTORY (default: the store's own, else fasttext)")
    command.add_argument("--alpha", type=decay_rate, metavar="RATE", help="decay per day (default: fitted on the past)")


def read_entries(lines: Sequence[str], name: str) -> list[Entry]:
    """The incidents of a file. Raises StoreError with the line."""
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            entries.append(entry_of(row))
        except KeyError as error:
            raise StoreError(f"{name}:{number}: the incident lacks `{error.args[0]}`") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{name}:{number}: {error}") from None
    return entries


def entry_of(row: dict[str, Any]) -> Entry:
    """An incident of a file; one with a category is confirmed unless it says otherwise."""
    text = row["text"] if "parts" not in row else "\n".join(row["parts"].values())
    category = str(row.get("category") or "")
    from .labelled import day_of

    day_of(str(row["time"]))  # a wrong time is reported with its line
    return Entry(str(row["id"]), str(row["time"]), category, clean_masked(text, MOST_KEPT_WORDS),
                 str(row.get("kind", "")), str(row.get("summary", "")), bool(row.get("confirmed", bool(category))),
                 tuple(kept(step) for step in row.get("steps", ())))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 where the input is wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] not in COMMANDS and (not words[0].startswith("-") or words[0] == "-"):
        words.insert(0, "import")
    arguments = parser().parse_args(words)
    try:
        run(arguments)
    except (StoreError, EmbeddingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, UnicodeDecodeError) as error:
        print(f"error: cannot read {arguments.file}: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """One command."""
    if arguments.command == "import":
        text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text(encoding="utf-8")
        entries = read_entries(text.split("\n"), arguments.file)  # before the store is made
        with Store(arguments.store) as store:
            added = store.add(entries)
            print(f"{added} incidents added, {len(entries) - added} were there already")
            if store.categories():
                _train(store, arguments)
        return
    with Store(arguments.store, read_only=True) as store:  # a wrong path makes no file
        if arguments.command == "list":
            _list(store, arguments.json)
            return
    with Store(arguments.store) as store:
        if arguments.command == "confirm":
            store.confirm(arguments.id, arguments.category)
            print(f"{arguments.id}: {store.current_name(arguments.category)}")
        elif arguments.command == "rename":
            print(f"{store.rename(arguments.old, arguments.new)} incidents are now `{arguments.new}`")
        else:
            _train(store, arguments)


def _train(store: Store, arguments: argparse.Namespace) -> None:
    described = store.embedding()
    name = arguments.embedding or (described[0] if described else "fasttext")
    alpha = store.train(name, arguments.alpha)
    described = store.embedding()
    assert described is not None
    print(f"{name} trained on {described[1]} incidents, decay {alpha:g} per day")


def _list(store: Store, as_json: bool) -> None:
    if as_json:
        for entry in store.entries():
            steps = [{"action": check, "result": result} for check, result in entry.steps]
            print(json.dumps(asdict(entry) | {"steps": steps}, ensure_ascii=False))
        return
    for entry in store.entries():
        sure = "" if entry.confirmed or not entry.category else "  (predicted)"
        print(f"{entry.time}  {entry.id}  {entry.category or '?'}{sure}")
    print()
    for category, count in store.categories().items():
        print(f"{count:6}  {category}")


if __name__ == "__main__":
    sys.exit(main())
