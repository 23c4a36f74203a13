"""The engines that are compared: how each is started, what it needs, and how it is driven best."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from semlang.backend.embedded import cache_directory
from workloads import Shape

FOLDER = Path(__file__).parent
OURS = "semlang"
PLAIN, PRIMED, UNIFIED, STREAMS = "plain", "primed", "unified", "streams"


@dataclass(frozen=True)
class Peer:
    """`package`: what has to be importable, in the environment of that name in the peers' folder or in this one.

    `shared`, `other`: how it is driven for workloads that share prefixes and for those that do not, the way that is
    expected to be best first. `exceptions`: the same for single workloads. `forms`: of the model, for each data type
    and kind of weights; none where `transformers`' own directories do.
    """

    name: str
    script: str
    package: str
    environment: str | None = None
    arguments: tuple[str, ...] = ()
    shared: tuple[str, ...] = (PLAIN,)
    other: tuple[str, ...] = (PLAIN,)
    exceptions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    forms: dict[tuple[str, str], str] = field(default_factory=dict)
    int8: bool = False
    """Whether it can have weights of 8 bits."""

    def variants(self, shape: Shape) -> tuple[str, ...]:
        """How to drive it; empty where it has nothing of its own to show."""
        return self.exceptions.get(shape.name, self.shared if shape.shares else self.other)

    def python(self, peers_directory: Path) -> str | None:
        """The interpreter to run it with; None where it is not installed."""
        if self.environment is not None:
            found = peers_directory / self.environment / "bin" / "python"
            if found.exists() and any(peers_directory.glob(
                    f"{self.environment}/lib/python*/site-packages/{self.package}")):
                return str(found)
        return sys.executable if importlib.util.find_spec(self.package) is not None else None

    def command(self, python: str) -> list[str]:
        return [python, str(FOLDER / self.script), *self.arguments]

    def variables(self, peers_directory: Path, python: str, threads: int) -> dict[str, str]:
        """The process's environment."""
        path = os.pathsep.join((str(Path(python).parent), os.environ.get("PATH", "")))
        return {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONFAULTHANDLER": "1", "PATH": path,
                "VLLM_CACHE_ROOT": str(peers_directory / "vllm-cache"), "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false"}


PEERS = {peer.name: peer for peer in (
    Peer(OURS, "drive_ours.py", "torch", int8=True),
    Peer("vllm", "drive_vllm.py", "vllm", "vllm", shared=(PLAIN, PRIMED)),
    Peer("openvino", "drive_openvino.py", "openvino_genai", "openvino", shared=(PRIMED, PLAIN), int8=True, forms={
        ("float32", "same"): "openvino_fp32", ("bfloat16", "same"): "openvino_fp32",
        ("bfloat16", "int8"): "openvino_int8"}),
    Peer("llama.cpp", "drive_llama_cpp.py", "llama_cpp", "llama_cpp", shared=(UNIFIED,), other=(STREAMS,),
         exceptions={"e": (STREAMS,)}, int8=True, forms={
             ("float32", "same"): "float32.gguf", ("bfloat16", "same"): "bfloat16.gguf",
             ("bfloat16", "int8"): "q8_0.gguf"}),
    Peer("transformers", "drive_transformers.py", "transformers", arguments=("plain",)),
    Peer("transformers-expanded", "drive_transformers.py", "transformers", arguments=("expanded",), other=()),
    Peer("transformers-batching", "drive_transformers.py", "transformers", arguments=("batching",), shared=(PRIMED,)),
)}


def default_peers_directory() -> Path:
    """Where `install_peers.py` puts one virtual environment for each peer."""
    return cache_directory() / "peers"
