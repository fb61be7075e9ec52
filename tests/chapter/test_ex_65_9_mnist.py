"""Ex. 65.9: handwritten digits. Preprocessing, network and step-size (65.151), passes of (65.150), Table 65.3.

Each set of images is scaled by 255 and centred around its own mean; the network has the sizes 784, 512, 512, 10, a
softmax, mu = 0.001, rho = 0.0001, and hidden nodes with a sigmoid, tanh or rectifier, or a sigmoid with dropout 0.1,
0.5, 0.5. What 200 passes reach, the percentages of Table 65.3, is not computed here; how they are counted is.
"""

import gzip

import numpy as np
import pytest
from chapter import listings
from chapter.images import (
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
needs_mnist = pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="needs the MNIST files")
SIZES = [784, 512, 512, 10]
SMALLER = [784, 6, 5, 10]  # with hidden layers that plain loops go through in a moment
FILES = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")


@pytest.fixture(scope="module")
def mnist():
    return data.load("mnist", SHARED, center="each")


@needs_mnist
@pytest.mark.parametrize("part", [0, 1], ids=["training", "test"])
def test_images_are_scaled_and_centred_around_the_mean_of_their_set(mnist, part):
    X, _ = (mnist.train, mnist.test)[part]
    with gzip.open(SHARED / "mnist" / FILES[part]) as file:
        pixels = file.read()[16:]  # after the header: 784 bytes an image
    n = (60_000, 10_000)[part]
    assert X.shape == (n, 784)
    assert len(pixels) == 784 * n
    mean = mean_feature_vector(pixels, 784)
    np.testing.assert_allclose((mnist.mean, mnist.test_mean)[part], mean, atol=1e-7)
    for i in (0, 1, 4321, n - 1):
        np.testing.assert_allclose(X[i], centred(pixels[784 * i : 784 * (i + 1)], mean), atol=2e-7)


@needs_mnist
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_steps_of_the_listing_at_the_printed_size(mnist, activation):
    net, f = network(SIZES, activation), listings.activations(4, activation, "softmax")
    assert difference_after_a_pass(net, f, few(mnist.train, 2)) <= TOLERANCE


@needs_mnist
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_passes_over_reshuffled_samples(mnist, activation, compiled):
    """Smaller hidden layers, so that there can be several passes: 4 over 10 images."""
    net, f = network(SMALLER, activation), listings.activations(4, activation, "softmax")
    assert difference_after_a_pass(net, f, few(mnist.train), 4, compiled) <= TOLERANCE


@needs_mnist
def test_passes_with_dropout(mnist):
    assert difference_with_dropout(SMALLER, "sigmoid", few(mnist.train), passes=2) <= TOLERANCE


@needs_mnist
def test_error_rates_of_both_sets_by_plain_loops(mnist):
    net, f = network(SMALLER, "tanh"), listings.activations(4, "tanh", "softmax")
    for X, Y in (mnist.train, mnist.test):
        samples = few((X, Y), 60)
        error = tg.evaluate(net, losses.cross_entropy, samples)[1]
        assert error == pytest.approx(empirical_error_rate(net, f, *samples))
        assert 0 < error < 1


def test_every_pass_goes_through_all_samples_in_another_order():
    shuffled = data.batches(np.arange(50), batch_size=1, seed=0)
    orders = [tuple(int(x[0]) for (x,) in shuffled) for _ in range(5)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 5


@pytest.mark.parametrize(
    ("errors", "samples", "printed"),
    [
        (218, 10_000, "2.18"),
        (184, 10_000, "1.84"),
        (182, 10_000, "1.82"),
        (622, 10_000, "6.22"),
        (613, 60_000, "1.02"),
        (1, 60_000, "0.00167"),
        (3752, 60_000, "6.25"),
    ],
)
def test_percentages_of_the_numbers_of_errors_in_table_65_3(errors, samples, printed):
    digits = len(printed.partition(".")[2])
    assert f"{percentage_of(errors, samples):.{digits}f}" == printed
