"""Installs the peers, each into a virtual environment of its own, as what they need does not go together.

    python benchmarks/engine/install_peers.py [llama-cpp openvino openvino-export vllm] [--peers-directory DIR]

Versions are those of the extras `peer-…` in pyproject.toml. llama.cpp is compiled from source (ten minutes of
processor time; needs a C++ compiler), the others are wheels; all together take about six gigabytes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from peers import default_peers_directory

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
TORCH = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
WITH_TORCH = ("vllm", "openvino-export")
UNWANTED = ("torchvision", "torchaudio", "torchcodec")
"""Built for CUDA where they come from the package index; a CPU build of torch cannot load them."""


def extras() -> dict[str, list[str]]:
    """What each peer needs, by its name without `peer-`."""
    optional = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    return {name.removeprefix("peer-"): needs for name, needs in optional.items() if name.startswith("peer-")}


def install(name: str, needs: list[str], directory: Path) -> None:
    """One environment; nothing happens to packages that are there already."""
    environment = directory / name.replace("-", "_")
    if not (environment / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "install", "-q"]
    if name in WITH_TORCH:  # first, and without CUDA; other packages would bring a newer one
        subprocess.run([*pip, "--extra-index-url", CPU_INDEX, TORCH], check=True)
        needs = [*needs, TORCH]
    variables = dict(os.environ)
    if name == "llama-cpp":
        variables["CMAKE_ARGS"] = "-DGGML_NATIVE=ON"
    subprocess.run([*pip, *needs], check=True, env=variables)
    if name in WITH_TORCH:
        subprocess.run([pip[0], "uninstall", "-q", "-y", *UNWANTED], check=True)


def main() -> None:
    known = extras()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"all of {', '.join(known)} by default")
    parser.add_argument("--peers-directory", type=Path, default=default_peers_directory())
    options = parser.parse_args()
    if unknown := set(options.peers) - set(known):
        parser.error(f"there is no peer {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    options.peers_directory.mkdir(parents=True, exist_ok=True)
    for name in options.peers or known:
        print(f"{name}: {', '.join(known[name])}", flush=True)
        install(name, known[name], options.peers_directory)


if __name__ == "__main__":
    main()
