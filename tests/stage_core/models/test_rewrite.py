"""Files made of the tensors of others hold the same numbers under the new names."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from stage_core.models import rewrite as module
from stage_core.models.checkpoint import open_weights
from stage_core.models.rewrite import Source, located, rewrite

from ..vectors import save

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.ones(3, dtype=torch.bfloat16),
    "c": torch.tensor(4.0),
    "d": torch.full((5,), 0.5).to(torch.float8_e4m3fn),
    "e": torch.zeros(0, 2),
}


def sources(path):
    return located(open_weights(save(path / "old.safetensors", TENSORS), "weights").tensors)


def test_tensors_of_all_widths_come_back_under_their_new_names(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PIECE_BYTES", 5)  # Pieces that end within a number.
    made = tmp_path / "new.safetensors"
    renamed = {f"{name}.new": source for name, source in sources(tmp_path).items()}
    rewrite(made, renamed, {"said": "so"})
    found = load_file(made)
    assert found.keys() == {f"{name}.new" for name in TENSORS}
    for name, wanted in TENSORS.items():
        assert found[f"{name}.new"].dtype == wanted.dtype
        assert torch.equal(found[f"{name}.new"].float(), wanted.float())
    with safe_open(made, "pt") as stored:
        assert stored.metadata() == {"said": "so"}


def test_a_number_that_no_file_holds_can_be_added(tmp_path):
    made = tmp_path / "new.safetensors"
    rewrite(made, {**sources(tmp_path), "alpha": Source.of_number(16.0)}, {})
    assert load_file(made)["alpha"] == 16
    assert torch.equal(load_file(made)["a"], TENSORS["a"])


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path):
    found = sources(tmp_path)
    old = tmp_path / "old.safetensors"
    old.write_bytes(old.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"old\.safetensors ends 1 bytes too early"):
        rewrite(tmp_path / "new.safetensors", found, {})
