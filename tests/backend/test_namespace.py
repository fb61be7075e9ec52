"""What an operation of one's own computes with: functions of the namespace, on every backend as NumPy's."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.backend import current
from tinygraph.backend.base import ARRAY_FUNCTIONS

X = np.array([[0.25, -0.5, 0.75], [0.1, 0.9, -0.3]])
UNARY = ("floor", "ceil", "trunc", "rint", "exp2", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh")
UNARY += ("arctanh", "isinf", "var", "std", "cumprod", "count_nonzero", "sort", "nan_to_num", "ravel", "diagonal")
UNARY += ("trace", "tril", "triu", "flip", "asarray")
CALLS = dict.fromkeys(UNARY, lambda xp, f, x: f(x))
CALLS |= dict.fromkeys(("log2", "log10"), lambda xp, f, x: f(x * x))
CALLS |= dict.fromkeys(("arccosh",), lambda xp, f, x: f(x * x + 1.0))
CALLS |= dict.fromkeys(("logaddexp", "hypot", "arctan2", "floor_divide", "remainder"), lambda xp, f, x: f(x, x * x))
CALLS |= dict.fromkeys(("roll", "repeat"), lambda xp, f, x: f(x, 2, axis=1))
CALLS |= {
    "take": lambda xp, f, x: f(x, xp.asarray([1, 0]), axis=1),
    "take_along_axis": lambda xp, f, x: f(x, xp.argsort(x, axis=1), axis=1),
    "moveaxis": lambda xp, f, x: f(x, 0, 1),
    "eye": lambda xp, f, x: f(3),
    "linspace": lambda xp, f, x: f(0.0, 1.0, 5),
    "einsum": lambda xp, f, x: f("ij,kj->ik", x, x),
    "tensordot": lambda xp, f, x: f(x, x, axes=[[1], [1]]),
    "outer": lambda xp, f, x: f(x, x),
}


@pytest.mark.parametrize("name", CALLS)
def test_further_functions_as_numpy(name):
    backend, call = current(), CALLS[name]
    found = backend.to_host(call(backend.xp, getattr(backend.xp, name), backend.asarray(X)))
    np.testing.assert_allclose(found, call(np, getattr(np, name), X), rtol=1e-12)


@pytest.mark.parametrize("name", ARRAY_FUNCTIONS)
def test_every_backend_has_the_functions_of_the_contract(name):
    assert callable(getattr(current().xp, name))


class Rounded(tg.Op):
    """An operation of functions that no plan knows."""

    rule = "no gradient"
    differentiable = False

    def forward(self, xp, x, out=None):
        return xp.floor(x * 4.0) + xp.triu(xp.einsum("ij,jk->ik", x, xp.ones_like(x)))


def test_an_operation_of_them_in_a_plan():
    x = np.random.default_rng(0).normal(size=(3, 3))
    expected = np.floor(x * 4) + np.triu(x.sum(1, keepdims=True) * np.ones((1, 3)))
    compiled = tg.compile(Rounded())
    for _ in range(3):
        np.testing.assert_allclose(compiled(tg.tensor(x)).numpy(), expected, rtol=1e-12)
