"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """A context, or a decorator, in which torch works in the calling thread alone.

    Threads that wait for each other on busy cores made small arrays 25 times slower, and idle
    cores gain little there; results also do not depend on their number.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
