"""Pictures painted over that the film does not use: the command line says which it does."""

from __future__ import annotations

import os

import torch

from stage_core.__main__ import main
from stage_core.media import write_picture
from stage_core.plurals import counted

TINY = ("--storyboard-model", "tiny", "--size", "128x72", "--title", "Key")
STORY = "INT. KITCHEN - NIGHT\n\n[[shot: wide, 0.5s]]\nAn empty kitchen.\n"


def test_a_repaint_of_what_the_film_does_not_use_is_said(tmp_path, capsys):
    def board(*options):
        capsys.readouterr()
        arguments = ["board", str(story), "--out", str(tmp_path / "board"), *TINY, *options]
        assert main(arguments) == 0
        return capsys.readouterr().err

    story = tmp_path / "story.fountain"
    story.write_text(STORY, encoding="utf-8")
    board()
    assert "painted" not in board("--seed", "1")
    old = tmp_path / "Key" / "1_d01_start.png"
    write_picture(old, torch.zeros(72, 128, 3, dtype=torch.uint8))
    says = "1_d01_start.png was painted over, but the film uses 1_d01-2_start.png\n"
    assert says in board("--seed", "1")
    assert "painted" not in board()
    # Older than what is in use: whoever painted it chose another drawing afterwards.
    os.utime(old, (0, 0))
    assert "painted" not in board("--seed", "1")


def test_one_is_said_as_one():
    assert [counted(n, "shot") for n in (0, 1, 2)] == ["0 shots", "1 shot", "2 shots"]
