"""Indices outside an axis: refused where they are seen, also by plans; a device wraps those that nobody sees."""

import numpy as np
import pytest

import tinygraph as tg

X = np.arange(12.0).reshape(4, 3)
OUTSIDE = {
    "rows": (lambda x, n: x[n], [0, 4], "4 is outside axis 0"),
    "far": (lambda x, n: x[n], [2**40, 1], f"{2**40} is outside axis 0"),
    "below": (lambda x, n: x[n], [-5, 0], "-5 is outside axis 0"),
    "columns": (lambda x, n: x[:, n], [1, 3], "3 is outside axis 1"),
    "after all others": (lambda x, n: x[..., n], [1, -4], "-4 is outside axis 1"),
    "new axis": (lambda x, n: x[None, n], [7, 2], "7 is outside axis 0"),
    "table": (lambda x, n: x[n], [[0, 1], [2, 9]], "9 is outside axis 0"),
    "take": (lambda x, n: tg.take(x, n, axis=1), [0, 3], "3 is outside axis 1"),
    "take from behind": (lambda x, n: tg.take(x, n, axis=-2), [0, 4], "4 is outside axis 0"),
}
outside = pytest.mark.parametrize(("fn", "places", "said"), OUTSIDE.values(), ids=OUTSIDE)


@outside
@pytest.mark.parametrize("kind", [list, np.int64, np.int32])
def test_indices_on_the_host_are_refused_where_they_enter(fn, places, said, kind):
    if kind is np.int32 and np.max(places) > 2**31:
        places = [77, 1]
        said = "77 is outside axis 0"
    given = places if kind is list else np.array(places, kind)
    with pytest.raises(tg.IndexRangeError, match=f"index: {said} of shape"):
        fn(tg.tensor(X), given)


@outside
def test_a_plan_refuses_those_of_a_later_call(fn, places, said):
    compiled = tg.compile(lambda x, n: fn(x, n) * 2.0)
    x, good = tg.tensor(X), np.zeros_like(places)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x, good).numpy(), 2 * fn(tg.tensor(X), good).numpy())
    with pytest.raises(tg.IndexRangeError, match=f"index: {said} of shape"):
        compiled(x, np.array(places))
    np.testing.assert_array_equal(compiled(x, good).numpy(), 2 * fn(tg.tensor(X), good).numpy())


@pytest.mark.parametrize("places", [[0, 3, -1, -4], [], [[1], [2]], [True, False, True, True]])
def test_others_pick_what_numpy_picks(places):
    places = np.array(places, None if len(places) else np.int64)
    np.testing.assert_array_equal(tg.tensor(X)[places].numpy(), X[places])
    if places.dtype != bool:
        np.testing.assert_array_equal(tg.take(tg.tensor(X), places).numpy(), X[places])


def test_what_is_not_on_the_host_is_refused_by_numpy_and_wraps_on_a_device(backend):
    x, places = tg.tensor(X), tg.tensor(np.array([1, 6]))
    if backend == "cupy":
        np.testing.assert_array_equal(x[places].numpy(), X[[1, 2]])
    else:
        with pytest.raises(tg.IndexRangeError, match="6 is out"):
            x[places]
