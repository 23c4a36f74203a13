"""Answers that are too long to show are kept in files, by key, so that their parts can be read later."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

KEY = re.compile(r"[0-9a-f]{16}")


def directory() -> Path:
    """Where snapshots lie: `SEMC_RCA_SNAPSHOTS`, or a folder for temporary files that only this user can read."""
    given = os.environ.get("SEMC_RCA_SNAPSHOTS")
    path = Path(given) if given else Path(tempfile.gettempdir()) / f"semlang-snapshots-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def keep(content: bytes) -> str:
    """Store `content` and return its key: equal contents have one."""
    key = sha256(content).hexdigest()[:16]
    path = directory() / key
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
    return key


def keep_file(path: Path) -> str:
    """Store a file, which is moved, and return its key."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    key = digest.hexdigest()[:16]
    shutil.move(path, directory() / key)
    return key


def read_snapshot(key: str, start: int = 0, length: int = 4_000) -> str:
    """`length` bytes of a snapshot as text, from byte `start` on. Raises KeyError if there is none of that key."""
    path = directory() / key
    if not KEY.fullmatch(key) or not path.is_file():
        raise KeyError(f"there is no snapshot {key!r}")
    with path.open("rb") as file:
        file.seek(max(0, start))
        return file.read(max(0, length)).decode("utf-8", "replace")
