"""For all tests: one thread, small pictures, a full disk when asked for, a running ComfyUI."""

import contextlib
import gc
import os
from dataclasses import replace

import pytest

from .live import COUNTED, NO_TREE, comfy, trees

# Tests share the machine with each other and more; threads that wait for a core cost far more
# than they save. The variable is for numpy and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)


def pytest_collection_finish():
    # What is imported by now stays until the end: the collector need not look at it each time.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def small_tiny_models():
    """The tiny models with a sixth of their pixels: what they do depends on no size."""
    with pytest.MonkeyPatch.context() as patch:
        with contextlib.suppress(ImportError):
            from stage_core.backends.tiny import TinyShots, TinyStoryboard

            for model, area in ((TinyStoryboard, 96 * 64), (TinyShots, 80 * 48)):
                patch.setattr(model, "grid", replace(model.grid, area=area))
        yield


@pytest.fixture
def small_sketches(monkeypatch):
    """Sketches with a ninth of their pixels, for tests of what is done with them."""
    from stage_core.backends.previs import sketch, staging

    grid = replace(staging.GRID, area=288 * 160)
    monkeypatch.setattr(staging, "GRID", grid)
    monkeypatch.setattr(sketch.Sketch, "grid", grid)


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


@pytest.fixture(scope="session", params=trees() or [None], ids=str)
def server(request, tmp_path_factory):
    """A ComfyUI that all tests share, one version after the other; films need their own titles."""
    if request.param is None:
        pytest.skip(NO_TREE)
    with comfy(request.param, tmp_path_factory.mktemp("comfy"), packs=(COUNTED,)) as running:
        yield running
