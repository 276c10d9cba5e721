"""For all tests: torch on one thread, and a disk that is full when asked for."""

import contextlib

import pytest

# Tests share the machine with each other and more; threads that wait for a core cost far more
# than they save.
with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def full_disk():
    """A block in which no file grows beyond some kB, as on a full disk; pytest's own output may
    be a file too, so the limit ends with the block."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
