"""What a run shows of itself on its node."""

from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.comfy
GREY, WHITE = (torch.full((4, 6, 3), value, dtype=torch.uint8) for value in (128, 255))


@pytest.fixture
def shown(pack, monkeypatch):
    """The clock, which stands still, and the previews that are sent."""
    host, clock, sent = pack.nodes.host, SimpleNamespace(now=1000.0), []
    monkeypatch.setattr(host.time, "monotonic", lambda: clock.now)
    bar = SimpleNamespace(update_absolute=lambda done, total, picture=None: sent.append(picture))
    monkeypatch.setattr(host, "ProgressBar", lambda total: bar)
    return clock, sent


def previews(sent):
    return [picture[1].getpixel((0, 0))[0] for picture in sent if picture]


def test_a_run_that_is_over_soon_shows_its_result_alone(pack, shown):
    clock, sent = shown
    report = pack.nodes.host.Report("draws")
    clock.now += 1
    assert list(report.watch([GREY, GREY])) == [GREY, GREY]
    report.finish(WHITE, "done")
    assert previews(sent) == []


def test_a_longer_run_shows_pictures_now_and_then_and_its_result_last(pack, shown):
    clock, sent = shown
    report = pack.nodes.host.Report("draws")
    for _ in range(30):
        clock.now += 0.25
        report.show(GREY)
    report.finish(WHITE, "done")
    assert 8 < len(previews(sent)) < 16
    assert previews(sent)[-1] == 255 and set(previews(sent)[:-1]) == {128}
