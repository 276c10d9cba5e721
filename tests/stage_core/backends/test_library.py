"""The library's networks with our weights are measured as they are, and stream as ours do."""

import pytest
import torch

from stage_core.backends import library
from stage_core.backends.library import library_network, library_step
from stage_core.bench.subjects import TEXT_TOKENS, TEXT_WIDTH, Size, pictures, qwen, wan
from stage_core.errors import MissingPackageError
from stage_core.offload.plan import HostTier, Plan
from stage_core.offload.stream import streamed

TINY = Size(4, 2, 16, 64, 1)


@pytest.mark.parametrize("make", [qwen, wan])
@torch.no_grad()
def test_the_librarys_network_has_our_weights_and_streams(make):
    pytest.importorskip("diffusers")
    subject = make(TINY)
    network = library_network(subject.network)
    texts = [torch.randn(1, TEXT_TOKENS, TEXT_WIDTH) for _ in range(2)]
    step = library_step(network, pictures(subject), texts, 0.5)
    wanted = step()
    assert len(wanted) == 2 and wanted[0].isfinite().all()
    blocks = getattr(network, subject.list_name)
    assert next(blocks.parameters()).data_ptr() == next(subject.blocks.parameters()).data_ptr()
    with streamed(blocks, Plan(frozenset({1}), 2, (HostTier.PAGED,) * 4, 0, 0.0), "cpu"):
        found = step()
    assert all(map(torch.equal, found, wanted))


def test_without_the_library_the_line_that_installs_it_is_said(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(library.importlib, "import_module", missing)
    with pytest.raises(MissingPackageError, match="pip install"):
        library_network(qwen(TINY).network)
