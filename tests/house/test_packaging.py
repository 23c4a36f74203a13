"""The package as it is installed: its list of folders, its wheel and its examples in docstrings."""

import doctest
import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_PACKAGES = {"build", "dist", "tests"}
TOP_LEVEL = ("__init__.py", "__main__.py", "py.typed", "pyproject.toml", "README.md")


def package_folders() -> list[Path]:
    """Every folder of the checkout that holds an `__init__.py`, the root first."""
    folders = [ROOT]
    for folder in folders:
        folders += sorted(
            child for child in folder.iterdir()
            if child.is_dir() and not child.name.startswith(".") and child.name not in NOT_PACKAGES
            and (child / "__init__.py").exists()
        )
    return folders


def dotted(path: Path) -> str:
    """The name under which `path`, a folder or module of the checkout, is imported."""
    return ".".join(("semlang", *path.relative_to(ROOT).parts)).removesuffix(".py")


def test_the_package_list_equals_the_tree() -> None:
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(map(dotted, package_folders()))


def test_a_wheel_holds_every_module_and_data_file(tmp_path: Path) -> None:
    checkout, wheels = tmp_path / "checkout", tmp_path / "wheels"
    checkout.mkdir()
    for name in TOP_LEVEL:
        shutil.copy(ROOT / name, checkout / name)
    for folder in package_folders()[1:]:
        if folder.parent == ROOT:
            shutil.copytree(folder, checkout / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", str(wheels),
               str(checkout)]
    subprocess.run(command, check=True, cwd=tmp_path)
    (wheel,) = wheels.glob("semlang-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"semlang/{name}" for name in TOP_LEVEL if name.endswith((".py", ".typed"))}
    for folder in package_folders()[1:]:
        wanted |= {f"semlang/{f.relative_to(ROOT)}" for f in folder.iterdir() if f.is_file() and f.suffix != ".pyc"}
    assert wanted <= held, sorted(wanted - held)
    assert not any(name.startswith(("semlang/tests/", "semlang/build/")) for name in held)


def test_examples_in_docstrings() -> None:
    files = [file for folder in package_folders() for file in sorted(folder.glob("*.py")) if ">>>" in file.read_text()]
    for file in files:
        outcome = doctest.testmod(importlib.import_module(dotted(file)))
        assert outcome.attempted > 0 and outcome.failed == 0, file
