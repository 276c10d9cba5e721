"""What is missing is named with the one line that installs it."""

import sys

import pytest

from stage_core.errors import MissingPackageError
from stage_core.packages import need_packages


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["b"], "the model needs b; install it with {} -m pip install b"),
        (["a", "c"], "the model needs a and c; install them with {} -m pip install a c"),
    ],
)
def test_one_line_installs_all_that_is_missing_and_nothing_else(monkeypatch, missing, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n in missing else n)
    monkeypatch.setattr(sys, "executable", "/python")
    with pytest.raises(MissingPackageError) as refused:
        need_packages("the model", ("a", "b", "c"))
    assert str(refused.value) == said.format("/python")
    need_packages("the model", [name for name in ("a", "b", "c") if name not in missing])
