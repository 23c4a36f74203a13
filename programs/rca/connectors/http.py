"""One request over HTTP that keeps its deadline, never takes more memory than it may, and never raises."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..outcomes import HEAD_CHARACTERS, TAIL_CHARACTERS, Answer, Outcome, clean, cut_with, failed, too_late
from ..snapshots import directory, keep_file

PARSED_BYTES = 8_000_000
"""A longer body is not parsed: it is kept as a snapshot and its ends are shown."""

KEPT_BYTES = 256_000_000
"""Where reading a body stops."""


@dataclass(frozen=True)
class Reply:
    """A body that was read as JSON, or the answer that says why there is none."""

    data: Any = None
    answer: Answer | None = None


def fetch_json(method: str, url: str, *, deadline: float, parameters: Mapping[str, str] | None = None,
               headers: Mapping[str, str] | None = None, body: object = None) -> Reply:
    """The JSON that `url` answers with, all within `deadline` seconds. Redirects are not followed."""
    import httpx2 as httpx
    where = place(url)
    end = time.monotonic() + deadline
    timeout = httpx.Timeout(deadline)
    certificates = not url.lower().startswith("http:")  # nothing to verify without TLS, and loading them takes time
    with tempfile.NamedTemporaryFile(dir=directory(), delete=False) as file:
        path = Path(file.name)
        try:
            with httpx.Client(timeout=timeout, trust_env=False, verify=certificates) as client, client.stream(
                    method, url, params=dict(parameters or {}), headers=dict(headers or {}), json=body) as response:
                size = 0
                for block in response.iter_bytes():
                    file.write(block)
                    size += len(block)
                    if time.monotonic() > end:
                        return Reply(answer=too_late(where, deadline))
                    if size >= KEPT_BYTES:
                        break
                status = response.status_code
            file.flush()
            return _read(where, status, path, size)
        except httpx.TimeoutException:
            return Reply(answer=too_late(where, deadline))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Reply(answer=failed(f"{where} cannot be reached: {type(error).__name__}: {error}"))
        finally:
            path.unlink(missing_ok=True)


def place(url: str) -> str:
    """Host and port of a URL, without credentials."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "the server"


def _read(where: str, status: int, path: Path, size: int) -> Reply:
    with path.open("rb") as file:
        head = file.read(HEAD_CHARACTERS if size > PARSED_BYTES else PARSED_BYTES)
    if status in (401, 403, 407):
        return Reply(answer=failed(f"{where} denies access: HTTP {status} {_text(head)}", Outcome.DENIED))
    if status in (408, 504):
        return Reply(answer=failed(f"{where} ran out of time: HTTP {status} {_text(head)}", Outcome.TIMEOUT))
    if not 200 <= status < 300:
        return Reply(answer=failed(f"{where} failed: HTTP {status} {_text(head)}"))
    if size > PARSED_BYTES:
        with path.open("rb") as file:
            file.seek(-TAIL_CHARACTERS, 2)
            tail = file.read()
        return Reply(answer=cut_with(Answer(Outcome.OK), _text(head), _text(tail), size, keep_file(path)))
    try:
        return Reply(data=json.loads(head))
    except (ValueError, RecursionError):
        return Reply(answer=failed(f"{where} answered something that is not JSON: {_text(head[:200])}"))


def _text(content: bytes) -> str:
    return clean(content.decode("utf-8", "replace"))
