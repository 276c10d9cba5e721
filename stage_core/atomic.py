"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StorageError

PARTIAL = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` when the block ends well.

    When it does not, the temporary file is removed and `path` is as it was.

    Raises:
        StorageError: the operating system refused to write, with its reason and the path.
    """
    # The extension stays last: video libraries choose the container by it.
    temporary = path.with_name(f".{secrets.token_hex(4)}{PARTIAL}{path.suffix}")
    try:
        yield temporary
        _rename(temporary, path)
    except StorageError as error:
        raise StorageError(str(error).replace(temporary.name, path.name)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot write {path}: {reason}; the file is as it was before"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that `path` is never seen half written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_older(folder: Path, pattern: str, seconds: float) -> None:
    """Remove the files of these names that nobody has written to for so long."""
    for path in folder.glob(pattern):
        # One that another process has removed, or on Windows has open, is no loss.
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > seconds:
                path.unlink()


def _rename(temporary: Path, path: Path) -> None:
    # On Windows a reader that has the old file open for a moment makes the rename fail.
    for _ in range(20):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(0.05)
    temporary.replace(path)
