"""Primitives written in C: the same elements as NumPy's, for operands of all dtypes that kernels know."""

import itertools
import shutil

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.plan.c_expressions import C_TYPES, c_expression, c_literal, has_c_expression
from tinygraph.plan.kernels_cuda import PRELUDE
from tinygraph.plan.operations import Elementwise
from tinygraph.plan.primitives import PRIMITIVES, dtypes_of
from tinygraph.plan.program import Instruction, Value

host_cuda = pytest.importorskip("host_cuda")
pytestmark = [pytest.mark.host, pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")]

COMPARISONS = [name for name, primitive in PRIMITIVES.items() if primitive.compares and "{1}" in primitive.c]
WHOLE = [d for d in C_TYPES if d.kind in "iu"]


def edges(dtype):
    """Numbers of a dtype at which conversions go wrong."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        numbers = [0.0, -0.0, 1.0, -1.0, 0.5, 255.0, 2.0**24, 2.0**24 + 2, 2.0**53, 2.0**63, 2.0**64, np.inf, -np.inf]
        return np.array([*numbers, np.nan], dtype)
    limits = np.iinfo(dtype)
    wanted = [0, 1, -1, 2, 5, 127, 128, 255, 2**15, 2**16 - 1, 2**24 + 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    return np.array([n for n in [*wanted, limits.min, limits.max] if limits.min <= n <= limits.max], dtype)


def computed(names, *operands):
    """Yield each name with what its expression gives: for arrays of one length, and with the last one as literals."""
    dtypes = [x.dtype for x in operands]
    length = operands[0].size
    read = [f"p{n}[k]" for n in range(len(operands))]
    target = f"p{len(operands)}[k]"
    texts, launches = [PRELUDE], []
    for name in names:
        *_, out = dtypes_of(name, tuple(dtypes))
        i = Instruction(Elementwise(name), tuple(Value(x.shape, x.dtype) for x in operands), Value((length,), out))
        assert has_c_expression(i)
        written = "\n".join(
            f"if (k == {k}) {target} = {c_expression(i, *read[:-1], c_literal(operands[-1][k].item(), dtypes[-1]))};"
            for k in range(length)
        )
        parameters = ", ".join(f"{C_TYPES[d]}* p{n}" for n, d in enumerate([*dtypes, out]))
        for kind, body in (("arrays", f"{target} = {c_expression(i, *read)};"), ("literals", written)):
            kernel = f"{name}_of_{kind}"
            texts.append(f'extern "C" __global__ void {kernel}({parameters}) {{ int k = blockIdx.x; {body} }}')
            launches.append((name, kernel, out))
    module = host_cuda.RawModule("\n".join(texts))
    for name, kernel, out in launches:
        y = host_cuda.asarray(np.zeros(length, out))
        module.get_function(kernel)((length,), (1,), (*(host_cuda.asarray(x) for x in operands), y))
        yield name, y.host


def pairs(a, b):
    grid = np.array(list(itertools.product(range(len(a)), range(len(b)))))
    return a[grid[:, 0]], b[grid[:, 1]]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.int64, np.float32),
        (np.float32, np.int64),
        (np.int64, np.uint64),
        (np.uint64, np.int64),
        (np.int32, np.uint32),
        (np.int8, np.uint8),
        (np.int8, np.uint64),
        (np.uint64, np.float64),
        (np.float64, np.float32),
        (np.bool_, np.int8),
        (np.bool_, np.float32),
    ],
)
def test_operands_of_two_dtypes_are_compared_as_numpy_compares_them(a, b):
    x, y = pairs(edges(np.dtype(a)), edges(np.dtype(b)))
    for name, got in computed(COMPARISONS, x, y):
        np.testing.assert_array_equal(got, getattr(np, name)(x, y), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), list(itertools.product(C_TYPES, C_TYPES)), ids=str)
def test_any_two_dtypes_are_compared_as_numpy_compares_them(a, b):
    x, y = pairs(edges(a), edges(b))
    for name, got in computed(COMPARISONS, x, y):
        np.testing.assert_array_equal(got, getattr(np, name)(x, y), err_msg=name)


@pytest.mark.parametrize("dtype", C_TYPES, ids=str)
def test_what_is_not_0_is_true(dtype):
    x = edges(dtype)
    for _, got in computed(["logical_not"], x):
        np.testing.assert_array_equal(got, np.logical_not(x))


@pytest.mark.parametrize(
    ("a", "b"),
    [(np.int64, np.float32), (np.float32, np.int32), (np.int32, np.uint32), (np.int64, np.uint64), (np.uint8, np.int8)],
)
@pytest.mark.parametrize("condition", [np.bool_, np.float32, np.int8])
def test_a_choice_between_two_dtypes_is_in_the_one_that_numpy_gives_it(a, b, condition):
    x, y = pairs(edges(np.dtype(a)), edges(np.dtype(b)))
    chosen = np.resize(edges(np.dtype(condition)), x.shape)
    expected = np.where(chosen, x, y)
    for _, got in computed(["where"], chosen, x, y):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_whole_numbers_wrap_around(dtype):
    x, y = pairs(edges(dtype), edges(dtype))
    with np.errstate(over="ignore"):
        for name, got in computed(("add", "subtract", "multiply"), x, y):
            np.testing.assert_array_equal(got, getattr(np, name)(x, y), err_msg=name)
        for name, got in computed(("negative", "square"), x):
            np.testing.assert_array_equal(got, getattr(np, name)(x), err_msg=name)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_sum_beyond_a_dtype_is_compared_as_it_wrapped(dtype):
    """A compiler that takes overflow as impossible would find ``x + 1 > x`` true everywhere."""
    x = np.array([np.iinfo(dtype).max, 5], dtype)
    with host_cuda.installed(), tg.using("cupy"):
        compiled = tg.compile(lambda t: tg.greater(t + 1, t))
        for _ in range(3):
            got = compiled(tg.tensor(x)).numpy()
    np.testing.assert_array_equal(got, [False, True])
