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
        MissingPackageError: one is not; the message has the line that installs it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingPackageError(f"{model} needs {name}; install it with {install_line(name)}")


def install_line(package: str) -> str:
    """What to type at a prompt so that the Python that runs has a package."""
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip install {package}"
