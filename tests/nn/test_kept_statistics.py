"""Normalisations go on with the statistics of their forward pass where only values are asked for, to the same bits."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.op import values_kept
from tinygraph.watchers import Watcher, watching

NORMS = {"batch": tg.batch_norm, "layer": tg.layer_norm}
SHAPES = {"batch": [(2, 1), (5, 3), (64, 17)], "layer": [(4,), (5, 3), (2, 3, 6)]}
CASES = [(kind, shape, dtype) for kind in NORMS for shape in SHAPES[kind] for dtype in ("float32", "float64")]


def operands(shape, dtype):
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, shape), rng.normal(size=shape[-1:]), rng.normal(size=shape[-1:])
    return [tg.parameter(x, dtype=dtype) for x in values], tg.tensor(rng.normal(size=shape), dtype)


@pytest.mark.parametrize(("kind", "shape", "dtype"), CASES)
def test_backward_gives_the_bits_of_a_recorded_rule(kind, shape, dtype):
    inputs, dv = operands(shape, dtype)
    v = NORMS[kind](*inputs)
    recorded = tg.grad(v, inputs, dv)
    v.backward(dv)
    for x, g in zip(inputs, recorded, strict=True):
        np.testing.assert_array_equal(x.grad.numpy(), g.numpy())


@pytest.mark.parametrize("kind", NORMS)
def test_what_was_kept_is_not_used_where_derivatives_or_watchers_need_more(kind):
    inputs, _ = operands((5, 3), "float64")
    v = NORMS[kind](*inputs)
    assert values_kept(v) == []
    with tg.no_grad():
        assert len(values_kept(v)) == 3
        assert values_kept(inputs[0] * 2.0) == []
        with watching(Watcher()):
            assert values_kept(v) == []
            assert values_kept(NORMS[kind](*inputs)) == []


@pytest.mark.parametrize("kind", NORMS)
def test_samples_of_a_batch_have_statistics_of_their_own(kind):
    (z, a, theta), _ = operands((4, 6, 3), "float64")

    def gradient(z):
        t = tg.tensor(np.zeros((6, 3))) + z
        return tg.grad((NORMS[kind](t, a, theta) ** 3).sum(), [t])[0]

    with tg.no_grad():
        together = tg.vmap(tg.enable_grad()(gradient))(z).numpy()
    for one, sample in zip(together, z.numpy(), strict=True):
        np.testing.assert_allclose(one, gradient(tg.tensor(sample)).numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "accuracy"), [("float16", 5e-3), ("float32", 1e-5), ("float64", 1e-12)])
def test_averages_are_the_same_for_those_who_watch(dtype, accuracy):
    alone, watched = (nn.BatchNorm(3, dtype=dtype) for _ in range(2))
    rng = np.random.default_rng(1)
    mean, variance = np.zeros(3), np.zeros(3)
    for _ in range(5):
        z = rng.normal([1e3, 0, -5], [1, 2, 0.1], (16, 3)).astype(dtype)
        alone(tg.tensor(z))
        with watching(Watcher()):
            watched(tg.tensor(z))
        exact = z.astype(np.float64)
        mean += 0.05 * (exact.mean(0) - mean)
        variance += 0.05 * (exact.var(0, ddof=1) - variance)
    for ours, theirs, right in ((alone.mean, watched.mean, mean), (alone.variance, watched.variance, variance)):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        np.testing.assert_allclose(ours.numpy(), right, rtol=accuracy)


def test_whole_numbers_are_normalised_as_fractions():
    whole = np.arange(12).reshape(4, 3) ** 2
    layers = [nn.BatchNorm(3) for _ in range(3)]
    results = [layers[0](whole), tg.compile(layers[1])(whole), layers[2](whole.astype(np.float32))]
    for layer, v in zip(layers, results, strict=True):
        np.testing.assert_allclose(v.numpy(), results[2].numpy(), rtol=1e-6)
        np.testing.assert_allclose(layer.mean.numpy(), 0.05 * whole.mean(0), rtol=1e-6)
