"""Forms of the model that only some peers read, made once from its float32 weights by the peers' own tools."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from gguf_kinds import GGUF_KINDS
from made_model import model_directory

FOLDER = Path(__file__).parent


class FormError(Exception):
    """A form could not be made; the message says why."""


def forms_directory() -> Path:
    """Beside the two copies of the model."""
    folder = model_directory("float32").parent / "forms"
    folder.mkdir(exist_ok=True)
    return folder


def make_form(form: str, peers_directory: Path) -> Path:
    """`KIND.gguf`, or `openvino_FORMAT` with a weight format of optimum's exporter. Raises FormError."""
    target = forms_directory() / form
    if target.exists():
        return target
    source = str(model_directory("float32"))
    if form.endswith(".gguf"):
        kind = form.removesuffix(".gguf")
        if kind not in GGUF_KINDS:
            raise FormError(f"there is no GGUF kind {kind}")
        _run([_python(peers_directory / "llama_cpp", "gguf"), str(FOLDER / "gguf_file.py"), source, kind, str(target)])
    else:
        python = _python(peers_directory / "openvino_export", "optimum")
        unfinished = target.with_name(f"unfinished-{form}")
        _run([python, "-m", "optimum.commands.optimum_cli", "export", "openvino", "--model", source, "--task",
              "text-generation-with-past", "--weight-format", form.removeprefix("openvino_"), str(unfinished)])
        unfinished.rename(target)
    return target


def _python(environment: Path, package: str) -> str:
    if (environment / "bin" / "python").exists():
        return str(environment / "bin" / "python")
    if importlib.util.find_spec(package) is not None:
        return sys.executable
    raise FormError(f"`{package}` is not installed; see install_peers.py")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise FormError(f"{Path(command[1]).name} failed: {lines[-1]}")
