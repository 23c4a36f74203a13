"""Finds the Python function of a host declaration: beside the declaring file first, then among installed packages."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_lock = threading.RLock()
_local_modules: dict[tuple[str, str], ModuleType] = {}
"""Modules that were loaded from a directory, by directory and name."""


class HostImportError(Exception):
    """A host's module or function cannot be had; the message says what was looked for and where."""


def load_host(target: str, directory: str | None) -> Callable[..., Any]:
    """The callable that `module:function` names. Raises HostImportError; what the module raises becomes one too.

    The module's own imports see `directory` as well. `sys.path` is the same afterwards. A module whose name another
    one already has in this process is loaded under a private name.
    """
    module_name, separator, function = target.partition(":")
    if not (separator and module_name and function):
        raise HostImportError(f"`{target}` is not of the form module:function")
    with _lock:
        try:
            module = _load_module(module_name, directory)
        except HostImportError:
            raise
        except Exception as error:
            place = f"{directory} and " if directory else ""
            raise HostImportError(
                f"cannot import the module `{module_name}` (looked in {place}the installed packages): "
                f"{type(error).__name__}: {error}") from error
        except SystemExit as error:
            raise HostImportError(f"the module `{module_name}` ended with SystemExit({error.code})") from error
    found: Any = module
    for part in function.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise HostImportError(f"the module `{module_name}` ({_origin(module)}) has no function `{function}`")
    if not callable(found):
        raise HostImportError(f"`{function}` in the module `{module_name}` ({_origin(module)}) is not a function")
    return found  # type: ignore[no-any-return]


@contextmanager
def search_directories(directories: Sequence[str]) -> Iterator[None]:
    """Let imports that hosts make while they run find modules in `directories`, after everything installed."""
    finders = [_DirectoryFinder(directory) for directory in dict.fromkeys(directories)]
    sys.meta_path.extend(finders)
    try:
        yield
    finally:
        for finder in finders:
            sys.meta_path.remove(finder)


class _DirectoryFinder:
    """Finds top-level modules in one directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        return None if path is not None else PathFinder.find_spec(name, [self.directory])


def _load_module(name: str, directory: str | None) -> ModuleType:
    top = name.partition(".")[0]
    if directory is None:
        return importlib.import_module(name)
    directory = str(Path(directory).resolve())
    known = _local_modules.get((directory, name))
    if known is not None:
        return known
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(top, [directory])
    if spec is None or (spec.origin is None and not _has_module(name, directory)):
        return importlib.import_module(name)
    finder = _DirectoryFinder(directory)
    sys.meta_path.insert(0, finder)
    try:
        other = sys.modules.get(top)
        if other is None or _same_origin(other, spec):
            module = importlib.import_module(name)
        else:
            module = _load_privately(name, spec, directory)
    finally:
        sys.meta_path.remove(finder)
    _local_modules[directory, name] = module
    return module


def _has_module(name: str, directory: str) -> bool:
    """Whether a folder without `__init__.py` really holds the module `a.b`, so that it does not hide a package."""
    path = Path(directory, *name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _same_origin(module: ModuleType, spec: ModuleSpec) -> bool:
    other = getattr(module, "__spec__", None)
    if other is None:
        return False
    if spec.origin is None:
        return list(other.submodule_search_locations or ()) == list(spec.submodule_search_locations or ())
    return bool(other.origin == spec.origin)


def _load_privately(name: str, spec: ModuleSpec, directory: str) -> ModuleType:
    """The module `name` from `directory` although another module has its top-level name."""
    top, _, rest = name.partition(".")
    private = f"_semlang_hosts_{blake2b(directory.encode(), digest_size=6).hexdigest()}_{top}"
    if private not in sys.modules:
        locations = spec.submodule_search_locations
        if spec.origin is None:
            private_spec = ModuleSpec(private, None, is_package=True)
            private_spec.submodule_search_locations = list(locations or ())
        else:
            found = importlib.util.spec_from_file_location(
                private, spec.origin, submodule_search_locations=None if locations is None else list(locations))
            assert found is not None
            private_spec = found
        module = importlib.util.module_from_spec(private_spec)
        sys.modules[private] = module
        if private_spec.loader is not None:
            try:
                private_spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[private]
                raise
    return importlib.import_module(f"{private}.{rest}") if rest else sys.modules[private]


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "built in"
