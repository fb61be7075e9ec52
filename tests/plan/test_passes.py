"""The passes, one by one, before and after; any subset of them on random graphs; where results are kept."""

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from plan.programs import first_call
from plan.random_programs import HOST_ARRAYS
from plan.random_programs import program as random_program

import tinygraph as tg
from tinygraph import backend as backends
from tinygraph.errors import CompileError
from tinygraph.plan.memory import lay_out


def labels(fn, *args, passes):
    """The operations of a function's plan after the passes, in order, and the plan."""
    compiled = tg.compile(fn, passes=passes)
    compiled(*args)
    return [i.op.label for i in compiled.plan.program.instructions], compiled.plan


def pair(fn, *args, name, also=()):
    """The operations without the pass and with it; the results must be the same."""
    before, _ = labels(fn, *args, passes=also)
    after, _ = labels(fn, *args, passes=(*also, name))
    results = [tg.compile(fn, passes=passes)(*args) for passes in (also, (*also, name))]
    for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in results], strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-12, atol=1e-12)
    return before, after


def x(*shape, seed=0):
    return tg.tensor(np.random.default_rng(seed).normal(size=shape))


def test_dead_code():
    def fn(a):
        a * 3.0
        return a + 1.0

    assert pair(fn, x(2), name="dead code") == (["multiply", "add"], ["add"])


def test_lowering():
    before, after = pair(lambda a: tg.softmax(a), x(2, 3), name="lowering")
    assert before == ["softmax"]
    assert [name.split("(")[0] for name in after] == ["max", "reshape", "subtract", "exp", "sum", "reshape", "divide"]


@pytest.mark.parametrize(
    "fn",
    [
        tg.sigmoid,
        tg.softplus,
        tg.elu,
        tg.leaky_relu,
        tg.scaled_tanh,
        tg.relu,
        tg.log_softmax,
        tg.expm1,
        tg.sin,
        tg.cos,
        tg.selu,
        tg.gelu,
        tg.silu,
        tg.softsign,
        lambda a: tg.log1p(tg.square(a)),
        lambda a: tg.logsumexp(a, -1),
        lambda a: tg.logsumexp(a, None, keepdims=True),
        lambda a: tg.std(a, 0),
        lambda a: tg.prod(a, 0),
        lambda a: tg.triu(a, 1) + tg.tril(a),
        lambda a: tg.einsum("ij,kj->ik", a, a),
        lambda a: tg.einsum("ij,ik->jki", a, a),
        lambda a: tg.norm(a, -1),
        lambda a: tg.norm(a, None, keepdims=True),
        lambda a: tg.divide_or_zero(a, tg.relu(a)),
        lambda a: tg.power(tg.square(a) + 1.0, -0.5),
        lambda a: tg.mean(a, (0, 1)),
        lambda a: tg.losses.cross_entropy(a, tg.softmax(a * 2.0)),
        lambda a: tg.losses.binary_cross_entropy(a, tg.sigmoid(a * 3.0)),
        lambda a: tg.losses.squared_error(a, a * 2.0),
        lambda a: tg.batch_norm(a, tg.mean(a, 0), tg.max(a, 0)),
    ],
)
def test_composite_operations_and_their_gradients_keep_their_numbers(fn):
    leaf = tg.parameter(np.random.default_rng(0).normal(size=(4, 3)) * 20)

    def with_gradient(scale):
        y = fn(leaf * scale)
        return y, tg.grad(tg.sum(y * y), [leaf])[0]

    scale = tg.tensor(np.ones(()) * np.ones((1,)))
    expected = [t.numpy() for t in with_gradient(scale)]
    for a, b in zip(expected, tg.compile(with_gradient)(scale), strict=True):
        np.testing.assert_allclose(b.numpy(), a, rtol=1e-11, atol=1e-13)


def test_constant_folding():
    before, after = pair(lambda a: (a * 2.0) * 3.0 - 0.0, x(2), name="constant folding")
    assert before == ["multiply", "multiply", "subtract"]
    assert after == ["multiply", "multiply"]  # the first is read by nobody now: dead code
    before, after = pair(lambda a: a - (-a), x(2), name="constant folding", also=("dead code",))
    assert after == ["add"] or "negative" not in after


def test_a_constant_that_is_one_number_everywhere_is_a_number():
    def fn(a):
        return a * tg.broadcast_to(tg.sum(tg.grad(tg.sum(a), [a])[0]) * 0.75, (2,))

    before, after = pair(fn, x(2), name="constant folding", also=("dead code",))
    assert after == ["multiply"]
    assert len(before) > len(after)


def test_common_subexpressions():
    before, after = pair(lambda a: tg.exp(a) + tg.exp(a), x(2), name="common subexpressions")
    assert (before, after) == (["exp", "exp", "add"], ["exp", "add"])


def test_two_draws_are_never_one():
    def fn(a):
        draws = [tg.bernoulli(0.5, (64,), np.float64, a.backend) for _ in range(2)]
        return draws[0], draws[1]

    a, b = tg.compile(fn)(x(2))
    assert (a.numpy() != b.numpy()).any()


def test_transposes():
    before, after = pair(lambda a, b: a.T @ b.T, x(3, 2), x(4, 3), name="transposes", also=("dead code",))
    assert before == ["transpose", "transpose", "matmul"]
    assert after == ["matmul(transpose_a=True, transpose_b=True)"]


def test_a_stack_on_the_left_of_one_matrix_is_one_product_of_all_its_rows():
    def fn(a, W):
        y = a @ W
        return y, *tg.grad(tg.sum(y * y), [a, W])

    leaves = [tg.tensor(t.numpy(), requires_grad=True) for t in (x(2, 3, 4), x(4, 5))]
    pair(fn, *leaves, name="lowering")
    _, plan = labels(fn, *leaves, passes=("lowering",))
    products = [i for i in plan.program.instructions if i.op.name == "matmul"]
    assert [i.output.shape for i in products] == [(6, 5), (6, 4), (4, 5)]


def test_a_bias_starts_its_product():
    before, after = pair(lambda a, W, theta: tg.bias(a @ W, theta), x(3, 2), x(2, 4), x(4), name="products")
    assert (before, after) == (["matmul", "bias"], ["matmul", "bias"])  # a composite: lowering comes first
    _, after = pair(
        lambda a, W, theta: tg.bias(a @ W, theta),
        *(x(3, 2), x(2, 4), x(4)),
        name="products",
        also=("lowering", "dead code"),
    )
    assert after == (["matmul", "subtract"] if backends.current().fuses else ["a b - c"])  # there the kernel after it


def test_a_product_that_is_read_elsewhere_keeps_its_bias_apart():
    def fn(a, W, theta):
        z = a @ W
        return z, z - theta

    _, after = pair(fn, x(3, 2), x(2, 4), x(4), name="products", also=("lowering", "dead code"))
    assert after == ["matmul", "subtract"]


def test_an_addend_that_makes_the_product_larger_stays_outside():
    _, after = pair(lambda a, W, c: a @ W + c, x(3, 2), x(2, 4), x(5, 3, 4), name="products", also=("dead code",))
    assert after == ["matmul", "add"]


def update(weights, decay=0.0, keep=False):
    W = tg.parameter(weights, name="W")
    lr = tg.tensor(np.array(0.1), name="lr")

    def fn(a, d):
        g = a.T @ d + decay * W if decay else a.T @ d
        W.assign_(W - lr * g)
        return g if keep else tg.sum(d)

    return W, fn


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("batch", [1, 5])
def test_a_gradient_goes_into_its_update(decay, batch):
    start = np.random.default_rng(0).normal(size=(3, 2))
    (W, fn), (V, eager) = update(start, decay), update(start, decay)
    a, d = x(batch, 3), x(batch, 2, seed=1)
    compiled = tg.compile(fn)
    for _ in range(3):
        compiled(a, d), eager(a, d)
    np.testing.assert_allclose(W.numpy(), V.numpy(), rtol=1e-13)
    names = [i.op.name for i in compiled.plan.program.instructions]
    assert names.count("gemm") == 1
    assert "matmul" not in names
    assert list(compiled.plan.layout.written_in_place.values()) == [W]  # written in place
    assert not compiled.plan.layout.copies


def test_a_gradient_that_is_returned_is_computed_by_itself():
    start = np.random.default_rng(0).normal(size=(3, 2))
    (W, fn), (V, eager) = update(start, keep=True), update(start, keep=True)
    compiled = tg.compile(fn)
    a, d = x(5, 3), x(5, 2, seed=1)
    np.testing.assert_allclose(compiled(a, d).numpy(), eager(a, d).numpy(), rtol=1e-13)
    np.testing.assert_allclose(W.numpy(), V.numpy(), rtol=1e-13)
    assert "matmul" in "".join(i.op.name for i in compiled.plan.program.instructions)


def test_weights_that_are_read_after_their_update_keep_their_old_value_for_it():
    start = np.random.default_rng(0).normal(size=(3, 2))

    def make():
        W = tg.parameter(start)

        def fn(a, d):
            new = W - 0.1 * (a.T @ d)
            before = d @ W.T  # needs the weights from before the update
            W.assign_(new)
            return before

        return W, fn

    (W, fn), (V, eager) = make(), make()
    compiled = tg.compile(fn)
    a, d = x(5, 3), x(5, 2, seed=1)
    for _ in range(3):
        np.testing.assert_allclose(compiled(a, d).numpy(), eager(a, d).numpy(), rtol=1e-13)
    np.testing.assert_allclose(W.numpy(), V.numpy(), rtol=1e-13)


def test_updates_come_early():
    def make():
        leaves = [tg.parameter(np.random.default_rng(k).normal(size=(3, 3))) for k in range(2)]

        def fn(a):
            y = tg.tanh(a @ leaves[0])
            z = y @ leaves[1]
            dW, dV = tg.grad(tg.sum(z * z), leaves)
            back = tg.sum(tg.exp(z))
            leaves[1].assign_(leaves[1] - 0.1 * dV)
            leaves[0].assign_(leaves[0] - 0.1 * dW)
            return back

        return fn

    also = ("dead code", "lowering", "constant folding", "products")
    before, _ = labels(make(), x(4, 3), passes=also)
    after, _ = labels(make(), x(4, 3), passes=(*also, "early updates"))
    assert sorted(before) == sorted(after)
    first = [next(i for i, name in enumerate(names) if "+ c" in name) for names in (before, after)]
    assert first[1] < first[0]


def test_dots_and_single_rows():
    before, after = pair(
        lambda a, b: tg.sum(a * b) * 0.5, x(3, 2), x(3, 2, seed=1), name="products", also=("dead code",)
    )
    assert before == ["multiply", "sum", "multiply"]
    assert after == ["0.5 sum(a b)"]
    before, after = pair(lambda a: tg.sum(a, 0), x(1, 4), name="single rows")
    assert (before, after) == (["sum(axis=0)"], ["reshape(shape=(4,))"])


def test_in_place():
    def fn(a):
        return tg.exp(tg.tanh(a * 2.0) + 1.0)

    without, with_it = (labels(fn, x(8), passes=p)[1].layout for p in ((), ("in place",)))
    assert with_it.size < without.size


@pytest.mark.parametrize("turn", [lambda a: a.T, lambda a: a[::-1], lambda a: a[2, 3]])
def test_a_group_does_not_write_over_what_later_tiles_read_elsewhere(small_tiles, turn):
    leaf = tg.parameter(np.random.default_rng(1).normal(size=(9, 9)))

    def fn(a):
        b = a * 2.0
        y = tg.exp(turn(leaf) * 0.1) + turn(b)
        leaf.assign_(leaf - y * 0.1)
        return y, b + y

    start, a = leaf.numpy(), x(9, 9)
    expected = [t.numpy() for t in fn(a)] + [leaf.numpy()]
    leaf.assign_(start)
    compiled = tg.compile(fn)
    for got, wanted in zip([*compiled(a), leaf], expected, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-13)
    assert any(end - first > 1 for first, end in compiled.plan.program.groups)


@pytest.mark.parametrize("rows", [5, 64])
def test_fusion_groups(small_tiles, rows):
    """Tiles that do not divide the arrays, rows in the middle, views, and results on the way."""
    leaf = tg.parameter(np.random.default_rng(1).normal(size=(rows, 7)))

    def fn(a, row):
        y = tg.exp(a * 0.5) - row
        z = tg.tanh(y) * leaf + tg.maximum(a, 0.25)
        leaf.assign_(leaf * 0.9 + z * 0.1)
        return y, tg.sqrt(tg.abs(z) + 1.0), (a.T * 2.0).T * z

    start = leaf.numpy()
    a, row = x(rows, 7), x(7, seed=2)
    expected = [t.numpy() for t in fn(a, row)]
    new = leaf.numpy()
    leaf.assign_(start)
    compiled = tg.compile(fn)
    for got, wanted in zip(compiled(a, row), expected, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-13)
    np.testing.assert_allclose(leaf.numpy(), new, rtol=1e-13)
    assert any(end - first > 2 for first, end in compiled.plan.program.groups)


# -- random programs; that they keep their numbers is in test_random_programs.py ---------------------------


@pytest.mark.compiles
@given(seed=st.integers(0, 10**6))
@settings(max_examples=60)
def test_nothing_alive_is_overwritten(seed):
    """Two values in the arena whose places overlap are not both wanted at any time."""
    try:
        program = first_call(random_program(seed, HOST_ARRAYS).source).plan.program
    except CompileError:  # views of leaves that were assigned since
        reject()
    layout = lay_out(program)
    base = {}
    for i in program.instructions:
        if i.output in layout.views:
            base[i.output] = base.get(i.inputs[0], i.inputs[0])
    born = dict.fromkeys(program.arguments, -1)
    dies = {}
    for position, i in enumerate(program.instructions):
        born.setdefault(i.output, position)
        for v in i.inputs:
            dies[base.get(v, v)] = position
    for v in (*program.outputs, *layout.copies.values()):
        dies[base.get(v, v)] = len(program.instructions)
    placed = [v for v in layout.offsets if v in dies]
    for a in placed:
        for b in placed:
            apart = (
                layout.offsets[a] + a.nbytes <= layout.offsets[b] or layout.offsets[b] + b.nbytes <= layout.offsets[a]
            )
            if a is b or apart or not a.size or not b.size:
                continue
            assert dies[a] <= born[b] or dies[b] <= born[a], (a, b)
