"""What tests of plans share."""

import pytest

from tinygraph.plan import kernels, memory
from tinygraph.plan.passes import fusion


@pytest.fixture
def small_tiles(monkeypatch):
    """Let groups be made of small arrays, in tiles of 7 elements."""
    for module in (memory, kernels, fusion):
        monkeypatch.setattr(module, "TILE", 7)
    monkeypatch.setattr(fusion, "SMALLEST", 2)
