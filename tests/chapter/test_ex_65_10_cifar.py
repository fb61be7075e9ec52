"""Ex. 65.10: tiny colour images. Preprocessing, network and step-size (65.152), passes with (65.153), Table 65.4.

Each set of images, 32 x 32 x 3, is scaled by 255 and centred around its own mean; the network has the sizes 3072, 2048,
2048, 10, rectifiers, a softmax, mu = 0.001, rho = 0.0001, with or without dropout 0.1, 0.5, 0.5; (65.153) is the
boundary value of the sensitivities. What 200 or 300 passes reach is not computed here; how errors are counted is.
"""

import gzip
from itertools import pairwise

import numpy as np
import pytest
from chapter import listings
from chapter.images import (
    MU,
    RHO,
    centred,
    difference_after_a_pass,
    difference_with_dropout,
    empirical_error_rate,
    few,
    mean_feature_vector,
    network,
    percentage_of,
)
from chapter.ways import TOLERANCE
from data_files import SHARED

import tinygraph as tg
from tinygraph import data, losses

pytestmark = pytest.mark.host
FOLDER = SHARED / "cifar10-subset"
needs_cifar = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the files of the CIFAR-10 subset")
SIZES = [3072, 2048, 2048, 10]
SMALLER = [3072, 6, 5, 10]  # with hidden layers that plain loops go through in a moment
FILES = ("cifar10_train_first4000.bin.gz", "cifar10_test_first1000.bin.gz")
RECORD = 1 + 3 * 32 * 32


@pytest.fixture(scope="module")
def cifar():
    return data.load("cifar10", SHARED, center="each")


F = listings.activations(4, "relu", "softmax")


@needs_cifar
@pytest.mark.parametrize("part", [0, 1], ids=["training", "test"])
def test_images_are_scaled_and_centred_around_the_mean_of_their_set(cifar, part):
    """A record is a byte for the class and 1024 each of red, green and blue: entries 0 to 1023, and so on."""
    X, Y = (cifar.train, cifar.test)[part]
    with gzip.open(FOLDER / FILES[part]) as file:
        records = file.read()
    assert X.shape == (len(records) // RECORD, 3072)
    mean = mean_feature_vector(records, 3072, 1, RECORD)
    np.testing.assert_allclose((cifar.mean, cifar.test_mean)[part], mean, atol=1e-7)
    for i in (0, 1, 321, len(X) - 1):
        record = records[RECORD * i : RECORD * (i + 1)]
        np.testing.assert_allclose(X[i], centred(record[1:], mean), atol=2e-7)
        assert Y[i].tolist() == [float(r == record[0]) for r in range(10)]


@needs_cifar
@pytest.mark.parametrize("compiled", [False, True])
def test_passes_over_reshuffled_samples(cifar, compiled):
    assert difference_after_a_pass(network(SMALLER, "relu"), F, few(cifar.train), 2, compiled) <= TOLERANCE


@needs_cifar
def test_passes_with_dropout(cifar):
    assert difference_with_dropout(SMALLER, "relu", few(cifar.train)) <= TOLERANCE


@needs_cifar
def test_the_boundary_value_is_the_difference_65_153(cifar):
    net = network(SMALLER, "relu")
    X, Y = few(cifar.train)
    z = net(X)
    (dz,) = tg.grad(losses.cross_entropy(z, Y), [z])
    delta = len(X) * dz.numpy()  # the loss is the mean over the samples
    W, theta = listings.parameters(net)
    for h, gamma, found in zip(X.tolist(), Y.tolist(), delta, strict=True):
        gamma_hat = listings.forward(h, W, theta, F)[0]
        np.testing.assert_allclose(found, [y - g for y, g in zip(gamma_hat, gamma, strict=True)], atol=1e-12)


@needs_cifar
def test_error_rates_of_both_sets_by_plain_loops(cifar):
    net = network(SMALLER, "relu")
    for part in (cifar.train, cifar.test):
        error = tg.evaluate(net, losses.cross_entropy, few(part, 40))[1]
        assert error == pytest.approx(empirical_error_rate(net, F, *few(part, 40)))


@pytest.mark.slow
@needs_cifar
def test_a_step_at_the_printed_size(cifar):
    """By plain loops: all signals, all sensitivities, all biases, and a hundred weights of each layer."""
    net = network(SIZES, "relu")
    assert [p.shape for p in net.parameters() if p.role == "weight"] == list(pairwise(SIZES))
    (h,), (gamma,) = few(cifar.train, 1)
    W, theta = listings.parameters(net)
    gamma_hat, z, y_l, z_l = listings.forward(h.tolist(), W, theta, F)
    delta = listings.backward(listings.boundary(gamma_hat, gamma.tolist(), z, "softmax", "cross-entropy"), F, z_l, W)
    optimizer = tg.optim.SGD(net.parameters(), MU)
    tg.fit(net, losses.cross_entropy, few(cifar.train, 1), optimizer, 1, 1, l2=RHO)
    rng = np.random.default_rng(0)
    for l, layer in enumerate((net.layer1, net.layer2, net.layer3), 1):
        expected = [t + MU * d for t, d in zip(theta[l], delta[l + 1], strict=True)]
        assert listings.largest_difference(layer.theta.numpy().tolist(), expected) <= TOLERANCE
        found = layer.W.numpy()
        for i, j in zip(rng.integers(SIZES[l - 1], size=100), rng.integers(SIZES[l], size=100), strict=True):
            w = (1 - 2 * MU * RHO) * W[l][i][j] - MU * y_l[l][i] * delta[l + 1][j]
            assert abs(found[i, j] - w) <= TOLERANCE


@pytest.mark.parametrize(
    ("errors", "samples", "printed"),
    [(4228, 10_000, "42.28"), (4292, 10_000, "42.92"), (10, 50_000, "0.02"), (2810, 50_000, "5.62")],
)
def test_percentages_of_the_numbers_of_errors_in_table_65_4(errors, samples, printed):
    assert f"{percentage_of(errors, samples):.2f}" == printed
