"""Libraries that only models with weights need."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from .errors import MissingPackageError

LIBRARIES = ("diffusers", "transformers")


def need_packages(model: str, names: Sequence[str] = LIBRARIES) -> None:
    """Nothing, where these packages are installed; they are not imported.

    Args:
        model: who needs them, such as 'the shot model'.

    Raises:
        MissingPackageError: some are not; the message has the one line that installs them all.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        them = "it" if len(missing) == 1 else "them"
        raise MissingPackageError(
            f"{model} needs {' and '.join(missing)}; install {them} with {install_line(*missing)}"
        )


def install_line(*packages: str) -> str:
    """What to type at a prompt so that the Python that runs has these packages."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip install {' '.join(packages)}"
