"""What the machine has is asked of the system."""

import sys

import pytest

from stage_core.offload import machine


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_ram_that_may_be_locked_is_a_part_of_what_is_free():
    total, free = machine.ram_bytes()
    assert 2**28 < free <= total
    assert 0 < machine.lockable_bytes() <= 0.95 * free


def test_windows_gets_less_than_half(monkeypatch):
    monkeypatch.setattr(machine.sys, "platform", "win32")
    monkeypatch.setattr(machine, "ram_bytes", lambda: (100, 90))
    assert machine.lockable_bytes() == 40


def test_a_system_that_does_not_tell_gets_none(monkeypatch):
    monkeypatch.setattr(machine, "ram_bytes", lambda: (0, 0))
    assert machine.lockable_bytes() == 0
