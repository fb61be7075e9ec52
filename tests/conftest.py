"""Every test runs on the NumPy backend and on the strict one, unless it is marked `host`."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import tinygraph as tg

settings.register_profile(
    "tinygraph",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("tinygraph")


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("host") is None:
        metafunc.fixturenames.append("backend")
        metafunc.parametrize("backend", ["numpy", "strict"], indirect=True)


@pytest.fixture
def backend(request):
    """The name of the backend that new tensors live on during the test."""
    with tg.using(request.param):
        yield request.param


@pytest.fixture
def rng():
    return np.random.default_rng(65)
