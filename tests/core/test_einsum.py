"""`einsum`: random equations against NumPy's, gradients, what it is composed of, and what cannot be read."""

import random

import numpy as np
import pytest

import tinygraph as tg


def some_equation(seed):
    """An equation and operands that fit: letters named once and twice, ..., lengths of 1, results given and not."""
    r, rng = random.Random(seed), np.random.default_rng(seed)
    lengths = {letter: r.randint(1, 3) for letter in "abcde"}
    further = [r.randint(1, 3), r.randint(1, 3)]
    terms, operands = [], []
    for _ in range(r.randint(1, 3)):
        term = [r.choice("abcde") for _ in range(r.randint(0, 3))]
        own = {letter: 1 if r.random() < 0.1 else lengths[letter] for letter in term}
        shape = [own[letter] for letter in term]
        if r.random() < 0.3:
            place = r.randint(0, len(term))
            dims = [n if r.random() < 0.8 else 1 for n in further[r.randint(0, 2) :]]
            term[place:place], shape[place:place] = ["..."], dims
        terms.append("".join(term))
        operands.append(rng.normal(size=shape))
    equation = ",".join(terms)
    if r.random() < 0.7:
        letters = sorted({*equation} - {*".,"})
        result = r.sample(letters, r.randint(0, len(letters)))
        if "..." in equation:
            result.insert(r.randint(0, len(result)), "...")
        equation += " -> " + "".join(result)
    return equation, operands


@pytest.mark.parametrize("seed", range(60))
def test_equations_as_numpy(seed):
    equation, operands = some_equation(seed)
    expected = np.einsum(equation, *operands)
    tensors = [tg.tensor(x) for x in operands]
    for y in (tg.einsum(equation, *tensors), tg.compile(lambda *ts: tg.einsum(equation, *ts))(*tensors)):
        assert y.shape == expected.shape
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12, err_msg=equation)


@pytest.mark.host
def test_more_equations():
    for seed in range(60, 600):
        equation, operands = some_equation(seed)
        y, expected = tg.einsum(equation, *operands).numpy(), np.einsum(equation, *operands)
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12, err_msg=equation)


@pytest.mark.parametrize("seed", range(1000, 1025))
def test_gradients_of_first_and_second_order(seed):
    equation, operands = some_equation(seed)
    tg.gradcheck(lambda *ts: tg.square(tg.einsum(equation, *ts)), *operands, second=True)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64"])
def test_whole_numbers_count_in_64_bits(dtype, rng):
    a, b = (rng.integers(0, 100, (3, 4)).astype(dtype) for _ in range(2))
    for equation in ("ij,kj->ik", "ij,ij->i", "ij,ij->ij"):
        y = tg.einsum(equation, a, b)
        assert y.dtype == ("uint64" if dtype == "uint8" else "int64")
        np.testing.assert_array_equal(y.numpy(), np.einsum(equation, a.astype(int), b.astype(int)))


def made_by(equation, *shapes):
    """The operations between a result and the operands, the last first."""
    y, names = tg.einsum(equation, *[tg.tensor(np.ones(shape)) for shape in shapes]), []
    while y.op is not None:
        names.append(y.op.label)
        y = y.inputs[0]
    return names


@pytest.mark.parametrize(
    ("equation", "shapes", "operations"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], ["matmul"]),
        ("ij,kj->ik", [(2, 3), (4, 3)], ["matmul(transpose_b=True)"]),
        ("ji,jk->ik", [(3, 2), (3, 4)], ["matmul(transpose_a=True)"]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 5), (2, 2, 4, 5)], ["matmul(transpose_b=True)"]),
        ("ij,jk", [(2, 3), (3, 4)], ["matmul"]),
        ("ij,j->ij", [(2, 3), (3,)], ["multiply"]),
        ("ij,ij->i", [(2, 3), (2, 3)], ["sum(axis=(1,))", "multiply"]),
        ("ij->ji", [(2, 3)], ["transpose(axes=(1, 0))"]),
        ("ij->ij", [(2, 3)], []),
    ],
)
def test_what_it_is_composed_of(equation, shapes, operations):
    assert made_by(equation, *shapes) == operations


@pytest.mark.host
@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk", [(2, 2)], "'ij,jk' has terms for 2 operands, got 1"),
        ("i->k", [(2,)], "'k' is an axis of no operand in the result of 'i->k'"),
        ("ij->ii", [(2, 2)], "'i' stands twice in the result"),
        ("i1", [(2,)], "'i1' cannot be read at 'i1': expected letters"),
        ("i->j->k", [(2,)], "cannot be read at 'j->k'"),
        ("...i...", [(2,)], "cannot be read"),
        ("äi", [(2, 2)], "cannot be read"),
        ("...j->j", [(2, 3)], r"the result of '...j->j' lacks the \.\.\."),
        ("", [], "expected at least one operand"),
    ],
)
def test_equations_that_cannot_be_read(equation, shapes, message):
    with pytest.raises(tg.ArgumentError, match=f"^einsum: .*{message}"):
        tg.einsum(equation, *map(np.ones, shapes))


@pytest.mark.host
@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        (
            "ij,jk->ik",
            [(2, 3), (4, 2)],
            r"axis 'j' of 'ij,jk->ik' has 3 elements and 4; the shapes are \(2, 3\), \(4, 2\)",
        ),
        ("ii", [(2, 3)], "axis 'i' of 'ii' has 2 elements and 3"),
        ("ii", [(1, 3)], "axis 'i' of 'ii' has 1 elements and 3"),
        ("...,...", [(2, 3), (2, 4)], r"axis -1 of \.\.\. of '...,...' has 3 elements and 4"),
        ("ijk", [(2, 3)], r"'ijk' in 'ijk' names 3 axes, its operand has shape \(2, 3\)"),
        ("i", [(2, 3)], "'i' in 'i' names 1 axes"),
    ],
)
def test_shapes_that_do_not_fit(equation, shapes, message):
    with pytest.raises(tg.ShapeError, match=f"^einsum: {message}"):
        tg.einsum(equation, *map(np.ones, shapes))


def test_operands_meet_in_one_dtype():
    assert tg.einsum("i,i", np.ones(2, np.float32), np.ones(2, np.int64)).dtype == np.float32
    with pytest.raises(tg.DTypeError, match="einsum: operands of two floating dtypes"):
        tg.einsum("i,i", np.ones(2, np.float32), np.ones(2))
    with pytest.raises(tg.ArgumentError, match='the equation comes first, such as "ij,jk->ik"; got ndarray'):
        tg.einsum(np.ones(2), np.ones(2))
