"""What tests of plans share."""

import pytest

from tinygraph.plan import kernels, memory, native
from tinygraph.plan.passes import fusion


@pytest.fixture
def small_tiles(monkeypatch):
    """Let groups be made of small arrays, in tiles of 7 elements."""
    for module in (memory, kernels, fusion):
        monkeypatch.setattr(module, "TILE", 7)
    monkeypatch.setattr(fusion, "SMALLEST", 2)


@pytest.fixture(scope="session")
def native_machine():
    """Native plans, the machine for them made; without it a test is skipped."""
    machine = native.machine()
    if machine is None:
        pytest.skip("native plans are turned off")
    assert machine.wait()
