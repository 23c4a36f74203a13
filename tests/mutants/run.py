"""Faults that were put into the compiler and its runtime by hand, each with the test that notices it.

`python tests/mutants/run.py [words]` puts each fault into a copy of the checkout and says whether its test notices.

Every `*.toml` file here is one area; an entry replaces `old`, which stands exactly once in `file`, by `new`.
Words choose the mutants with one of them in area or name. The test has to pass in the copy without the fault, too.
Exit code 1 where a fault survived or could not be tried. `--readme` writes the table in README.md anew instead.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SECONDS = 600
"""A test that takes longer than this hangs."""
PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Mutant:
    """One fault. `name` says what is wrong; `test`: node of the test that fails with it and passes without."""

    area: str
    name: str
    file: str
    old: str
    new: str
    test: str

    def mutated(self, text: str) -> str:
        """The text of `file` with the fault. ValueError where `old` does not stand there exactly once."""
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"`{self.name}`: the text to replace stands {count} times in {self.file}")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """All of them, area by area."""
    return [Mutant(path.stem, **entry) for path in sorted(HERE.glob("*.toml"))
            for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]]


def table() -> str:
    """The list in README.md."""
    lines: list[str] = []
    for path in sorted(HERE.glob("*.toml")):
        entries = [mutant for mutant in mutants() if mutant.area == path.stem]
        heading = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        lines += ["", f"## {path.stem}", "", heading, "", "| what is wrong | in | the test that notices |",
                  "|---|---|---|"]
        lines += [f"| {mutant.name} | `{mutant.file}` | `{mutant.test}` |" for mutant in entries]
    return "\n".join(lines[1:]) + "\n"


def main() -> int:
    """Try the chosen mutants one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if options.readme:
        write_readme()
        return 0
    known_areas = {mutant.area for mutant in mutants()}
    chosen = [mutant for mutant in mutants() if not options.words or any(
        word == mutant.area if word in known_areas else word in (mutant.name, mutant.test) or word in mutant.name
        for word in options.words)]
    if not chosen:
        parser.error("no mutant has these words")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = copy_of_checkout(Path(folder))
        known: dict[str, str] = {}
        survived = 0
        for mutant in chosen:
            begin = time.monotonic()
            if mutant.test not in known:
                known[mutant.test] = run_test(copy, mutant.test)
            verdict = tried(copy, mutant) if known[mutant.test] == "passes" else (
                f"cannot tell: the test {known[mutant.test]} without it")
            survived += not verdict.startswith("killed")
            print(f"{verdict:10}  {mutant.area}: {mutant.name}  ({time.monotonic() - begin:.0f} s)", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} killed")
    return int(survived > 0)


def write_readme() -> None:
    """Write the table after the text of README.md."""
    path = HERE / "README.md"
    text = path.read_text(encoding="utf-8").partition("\n## ")[0]
    path.write_text(f"{text.rstrip()}\n\n{table()}", encoding="utf-8")


def copy_of_checkout(folder: Path) -> Path:
    """The files of the checkout, those not yet committed included, in a package of the right name."""
    copy = folder / "semlang"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    compileall.compile_dir(copy, quiet=2)  # what is compiled now is as old as its source; a fault is newer
    return copy


def tried(copy: Path, mutant: Mutant) -> str:
    """What became of a mutant; the copy is as before afterwards."""
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.mutated(text), encoding="utf-8")
    try:
        outcome = run_test(copy, mutant.test)
    finally:
        path.write_text(text, encoding="utf-8")
    return {"fails": "killed", "hangs": "killed (hangs)", "passes": "SURVIVED"}.get(outcome, f"cannot tell: {outcome}")


def run_test(copy: Path, test: str) -> str:
    """`passes`, `fails`, `hangs`, or what else happened."""
    environment = {**os.environ, "PYTHONPATH": str(copy.parent), "OMP_NUM_THREADS": "1",
                   "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(Path(sys.executable).parent / "pytest"), "-q", "-x", "-n0", "-p", "no:cacheprovider", test]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode in (PASSED, FAILED):
        return "passes" if done.returncode == PASSED else "fails"
    return f"broke: {(done.stdout.splitlines() or ['nothing said'])[-1]}"


if __name__ == "__main__":
    sys.exit(main())
