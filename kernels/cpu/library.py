"""Compiles the C++ kernels on first use and loads them; the library is kept by the digest of what it was made from.

No torch headers and no build system: one shared object with C functions over raw pointers, loaded by ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCES = ("attention.cpp", "linear.cpp", "elementwise.cpp", "decoder_stages.cpp", "decoder.cpp")
HEADERS = ("vector.h", "attention.h", "linear.h", "int8.h", "elementwise.h", "pages.h", "team.h", "decoder.h",
           "decoder_stages.h")
FLAGS = ("-O3", "-std=c++17", "-fno-math-errno", "-fPIC", "-fopenmp", "-shared", "-w")
SECONDS = 300


@dataclass(frozen=True)
class Kernels:
    """The loaded library and the instructions that it was compiled for."""

    library: ctypes.CDLL
    instructions: str


@dataclass(frozen=True)
class Unavailable:
    """Why there are no compiled kernels; the sentence is for users."""

    reason: str


@functools.cache
def load_kernels() -> Kernels | Unavailable:
    """The kernels for this machine. `SEMC_CPU_KERNELS=off` refuses them."""
    if os.environ.get("SEMC_CPU_KERNELS", "").lower() in ("off", "0", "none"):
        return Unavailable("SEMC_CPU_KERNELS turns them off")
    return build_kernels(("-march=native",))


def build_kernels(options: tuple[str, ...], directory: Path | None = None) -> Kernels | Unavailable:
    """Compile with `options` besides FLAGS, unless the library is in `directory` (the user's cache) already."""
    compiler = find_compiler()
    if compiler is None:
        return Unavailable("there is no C++ compiler; install g++, or set CXX")
    directory = directory or cache_directory()
    path = directory / f"kernels-{_digest(compiler, options)}.so"
    if not path.exists():
        problem = _compile(compiler, options, path)
        if problem is not None:
            return Unavailable(problem)
    try:
        library = ctypes.CDLL(str(path))
        library.instruction_set.restype = ctypes.c_char_p
        return Kernels(library, library.instruction_set().decode())
    except OSError as error:
        return Unavailable(f"the compiled kernels cannot be loaded: {error}")


def find_compiler() -> str | None:
    """The path of a C++ compiler: `CXX`, else the usual names."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next((path for path in map(shutil.which, names) if path), None)


def cache_directory() -> Path:
    """Where compiled kernels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "semlang", "kernels")


def _digest(compiler: str, options: tuple[str, ...]) -> str:
    """Identifies sources, flags, compiler and machine."""
    state = hashlib.sha256()
    folder = Path(__file__).parent
    for name in (*SOURCES, *HEADERS):
        state.update((folder / name).read_bytes())
    state.update(repr((FLAGS, options, compiler, os.stat(compiler).st_mtime_ns, _machine())).encode())
    return state.hexdigest()[:20]


def _machine() -> str:
    """What `-march=native` depends on."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    except OSError:
        return platform.platform()


def _compile(compiler: str, options: tuple[str, ...], path: Path) -> str | None:
    """Write the library to `path`, whole or not at all; what went wrong, if anything."""
    sources = [str(Path(__file__).parent / name) for name in SOURCES]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder, path.name)
            command = [compiler, *FLAGS, *options, "-o", str(made), *sources]
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            if done.returncode:
                first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
                return f"{Path(compiler).name} does not compile the kernels: {first}"
            os.replace(made, path)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the kernels cannot be compiled: {error}"
    return None
