"""Which library of BLAS is used where there are several: as measured, kept, and the same ever after."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest

from tinygraph.backend import blas, blas_choice

pytestmark = pytest.mark.host

pytest.importorskip("scipy_openblas32", reason="native plans need the extra jit")


class Slow:
    """Routines that take longer than those of a library."""

    def __init__(self, library, seconds):
        self.library, self.seconds = library, seconds

    def __getattr__(self, name):
        routine = getattr(self.library, name)

        def slow(*addresses):
            time.sleep(self.seconds)
            routine(*addresses)

        return slow


@pytest.fixture
def libraries():
    """A slow library and a fast one."""
    fast = dataclasses.replace(blas.load("openblas"), name="fast")
    return [dataclasses.replace(fast, name="slow", library=Slow(fast.library, 2e-3)), fast]


def test_the_faster_one_is_used_and_that_is_kept(libraries, tmp_path):
    library, times = blas_choice.fastest(libraries, tmp_path)
    assert library.name == "fast"
    assert times["slow"] == 1.0
    assert times["fast"] < 0.9
    (file,) = tmp_path.iterdir()
    kept = json.loads(file.read_text())
    assert kept["times"] == times
    kept["times"] = {"slow": 1.0, "fast": 2.0}  # as another process measured it
    file.write_text(json.dumps(kept))
    library, times = blas_choice.fastest(libraries, tmp_path)
    assert library.name == "slow"
    assert times["fast"] == 2.0


def test_the_first_one_stays_unless_the_other_is_faster_by_a_margin(libraries, tmp_path, monkeypatch):
    monkeypatch.setattr(blas_choice, "measured", lambda libraries: {"slow": 1.0, "fast": 0.95})
    assert blas_choice.fastest(libraries, tmp_path)[0].name == "slow"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"times": 3}', '{"times": {"slow": "x"}}', '{"times": {"slow": 1}}']
)
def test_a_file_that_holds_something_else_is_written_anew(content, libraries, tmp_path):
    blas_choice._file(libraries, tmp_path).write_text(content)
    library, times = blas_choice.fastest(libraries, tmp_path)
    assert library.name == "fast"
    assert set(json.loads(blas_choice._file(libraries, tmp_path).read_text())["times"]) == set(times)
    assert len(list(tmp_path.iterdir())) == 1


def test_where_nothing_can_be_kept_the_first_one_is_used(libraries, tmp_path):
    """It could be another one in the next process."""
    (tmp_path / "file").write_text("")
    library, times = blas_choice.fastest(libraries, tmp_path / "file" / "folder")
    assert library.name == "slow"
    assert times == {}


def test_of_two_processes_the_first_to_write_decides(libraries, tmp_path, monkeypatch):
    file = blas_choice._file(libraries, tmp_path)

    def measured(libraries):
        file.write_text(json.dumps({"times": {"slow": 1.0, "fast": 3.0}}))  # the other one is done first
        return {"slow": 1.0, "fast": 0.1}

    monkeypatch.setattr(blas_choice, "measured", measured)
    library, times = blas_choice.fastest(libraries, tmp_path)
    assert (library.name, times["fast"]) == ("slow", 3.0)


@pytest.mark.parametrize("k", range(len(blas_choice.PRODUCTS) + 2))
def test_what_is_measured_is_a_product(k, libraries):
    """Of ones: each element is the number of terms, added to what was there."""
    call = blas_choice._call(libraries[1], k)
    before = [a.copy() for a in call.arrays]
    call()
    changed = [(a, b) for a, b in zip(call.arrays, before, strict=True) if not np.array_equal(a, b)]
    (pair,) = changed
    terms = [*(inner for _, _, inner in blas_choice.PRODUCTS), blas_choice.MATRIX[1], 1][k]
    np.testing.assert_array_equal(pair[0], pair[1] + terms)


def test_other_versions_are_measured_anew(libraries, tmp_path):
    newer = [dataclasses.replace(library, version="another") for library in libraries]
    assert blas_choice._file(newer, tmp_path) != blas_choice._file(libraries, tmp_path)


def test_a_variable_names_the_library_and_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(blas_choice, "measured", None)
    monkeypatch.setenv(blas_choice.VARIABLE, "openblas")
    blas_choice.blas_library.cache_clear()
    try:
        assert blas_choice.blas_library().name == "openblas"
    finally:
        blas_choice.blas_library.cache_clear()
