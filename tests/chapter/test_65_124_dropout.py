"""(65.120)-(65.124): dropout, its masks, the training listing, and the scaling in testing.

(65.120) the Bernoulli masks, (65.121)-(65.122) the forward pass with one mask a mini-batch (Figure 65.11), (65.123)
the boundary value of a softmax, (65.124) the listing.
"""

import itertools
import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import ArgumentError
from tinygraph.models import fully_connected


def test_the_mask_is_zero_with_probability_p_off():
    tg.manual_seed(0)
    m = tg.bernoulli(0.3, (200, 500)).numpy()
    assert set(np.unique(m)) == {0, 1}
    assert (m == 0).mean() == pytest.approx(0.3, abs=0.01)
    with pytest.raises(ArgumentError, match="p_off must be from 0 to 1, got 1.5"):
        tg.bernoulli(1.5, 3)


@pytest.mark.parametrize(
    ("p_off", "bits"), [(0.4, 32), (0.5, 8), (0.25, 8), (3 / 256, 8), (3 / 512, 16), (0.0, 8), (1.0, 8), (1e-9, 32)]
)
def test_masks_are_those_of_philox_whatever_the_backend(p_off, bits):
    tg.manual_seed(7)
    for draw in range(3):
        words = np.random.Philox(key=np.array([7, draw], np.uint64)).random_raw(18)
        numbers = [int(word) >> shift & 2**bits - 1 for word in words for shift in range(0, 64, bits)]
        expected = np.reshape([number >= round(p_off * 2**bits) for number in numbers[:35]], (5, 7))
        mask = tg.bernoulli(p_off, (5, 7))
        np.testing.assert_array_equal(mask.numpy(), expected)
        tg.manual_seed(7)
        compiled = tg.compile(lambda: tg.bernoulli(p_off, (5, 7)))
        np.testing.assert_array_equal([compiled() for _ in range(draw + 1)][draw].numpy(), expected)


@pytest.mark.parametrize("p_off", [0.5, 0.125, 5 / 2**12, 0.2])
def test_the_share_of_zeros_is_within_what_chance_allows(p_off):
    tg.manual_seed(1)
    n = 1_000_000
    zeros = n - float(tg.bernoulli(p_off, n, np.float64).numpy().sum())
    assert abs(zeros - n * p_off) < 4 * (n * p_off * (1 - p_off)) ** 0.5


def test_no_two_draws_are_the_same_and_a_seed_repeats_them():
    tg.manual_seed(1)
    a, b = tg.bernoulli(0.5, 100).numpy(), tg.bernoulli(0.5, 100).numpy()
    assert not np.array_equal(a, b)
    tg.manual_seed(1)
    np.testing.assert_array_equal(tg.bernoulli(0.5, 100).numpy(), a)


CASES = [
    ("tanh", "least squares"),
    ("sigmoid", "least squares"),
    ("softmax", "least squares"),
    ("softmax", "cross-entropy"),
]
LOSSES = {"least squares": losses.squared_error, "cross-entropy": losses.cross_entropy}
SIZES, P_OFF, MU, STEPS, B = [4, 5, 4, 3], {1: 0.2, 2: 0.5, 3: 0.4}, 0.1, 20, 6


def network(output):
    probabilities = list(P_OFF.values())
    return fully_connected(SIZES, "tanh", output, dropout=probabilities, init_bias="normal", seed=0, dtype=np.float64)


def pairs_and_masks(rng):
    """Mini-batches, and a mask for each layer and mini-batch: those that the library draws after the same seed."""
    X = rng.normal(size=(STEPS, B, SIZES[0]))
    Y = np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], (STEPS, B))]
    tg.manual_seed(3)
    masks = [
        {l: tg.bernoulli(P_OFF[l], (1, SIZES[l - 1]), np.float64).numpy()[0].tolist() for l in P_OFF}
        for _ in range(STEPS)
    ]
    tg.manual_seed(3)
    assert all(0 in [mask[l][0] for mask in masks] for l in P_OFF)
    return list(zip(X, Y, strict=True)), masks


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("output", "risk", "rho"), [*((*case, 0.02) for case in CASES), (*CASES[-1], 0.0)])
def test_twenty_steps_of_the_listing(way, output, risk, rho, rng):
    """(65.124), with a softmax (65.123), and with the boundary value of cross-entropy (65.147)."""
    net, (pairs, masks) = network(output), pairs_and_masks(rng)
    f, a = listings.activations(len(SIZES), "tanh", output), iter(masks)

    def listing(x, y, W, theta):
        return listings.dropout_step(x, y, next(a), W, theta, MU, rho, f, risk)

    optimizer = optim.SGD(net.parameters(), MU)
    assert largest_difference_over_steps(way, net, LOSSES[risk], optimizer, pairs, listing, rho) <= TOLERANCE


@pytest.mark.parametrize(("output", "risk"), CASES)
def test_twenty_steps_with_sleeping_nodes_frozen(output, risk, rng):
    """As the text around (65.124) says: no parameter of a sleeping node moves, though the listing decays them."""
    net, (pairs, masks) = network(output), pairs_and_masks(rng)
    f, a = listings.activations(len(SIZES), "tanh", output), iter(masks)

    def listing(x, y, W, theta):
        mask = next(a)
        moved = listings.dropout_step(x, y, mask, W, theta, MU, 0.02, f, risk)
        return listings.keep_sleeping(W, theta, mask, *moved)

    optimizer = optim.SGD(net.parameters(), MU)
    found = largest_difference_over_steps(
        "fit", net, LOSSES[risk], optimizer, pairs, listing, 0.02, freeze_sleeping=True
    )
    assert found <= TOLERANCE


@pytest.mark.host
def test_without_regularisation_the_listing_freezes_sleeping_nodes_itself(rng):
    """With rho = 0 the printed listing and the text around it are the same; with rho > 0 they are not."""
    pairs, masks = pairs_and_masks(rng)
    W, theta = listings.parameters(network("tanh"))
    f, (x, y), a = listings.activations(len(SIZES), "tanh", "tanh"), pairs[0], masks[0]
    differences = []
    for rho in (0.0, 0.02):
        moved = listings.dropout_step(x.tolist(), y.tolist(), a, W, theta, MU, rho, f, "least squares")
        frozen = listings.keep_sleeping(W, theta, a, *moved)
        differences.append(listings.largest_difference(moved, frozen))
    assert differences[0] == 0
    assert differences[1] > 1e-3


def test_in_testing_weights_are_scaled_and_biases_are_not(rng):
    """The last line of (65.124) scales both; the library scales what the weights multiply, and no bias."""
    net, X = network("sigmoid"), rng.normal(size=(6, SIZES[0]))
    W, theta = listings.parameters(net)
    f = listings.activations(len(SIZES), "tanh", "sigmoid")
    gamma_hat = net.predict(X).numpy().tolist()
    right = [listings.forward(h, listings.scaled_weights(W, P_OFF), theta, f)[0] for h in X.tolist()]
    printed = [listings.forward(h, *listings.scaled_for_testing(W, theta, P_OFF), f)[0] for h in X.tolist()]
    assert listings.largest_difference(gamma_hat, right) < 1e-14
    assert listings.largest_difference(gamma_hat, printed) > 0.05


@pytest.mark.host
def test_scaling_the_weights_alone_gives_the_mean_over_all_masks(rng):
    """Why the bias is not scaled: z in testing is then the expected z in training, here over every mask."""
    p, n = 0.3, 4
    W, theta, y = rng.normal(size=(n, 2)).tolist(), rng.normal(size=2).tolist(), rng.normal(size=n).tolist()
    mean = [0.0, 0.0]
    for a in itertools.product([0, 1], repeat=n):
        probability = math.prod(1 - p if awake else p for awake in a)
        z = listings.affine(W, listings.awake(y, a), theta)
        mean = [m + probability * z_j for m, z_j in zip(mean, z, strict=True)]
    scaled_W, scaled_theta = listings.scaled_for_testing({1: W}, {1: theta}, {1: p})
    assert listings.largest_difference(mean, listings.affine(scaled_W[1], y, theta)) < 1e-14
    assert listings.largest_difference(mean, listings.affine(scaled_W[1], y, scaled_theta[1])) > 0.01


def test_one_mask_a_batch_or_one_a_sample():
    tg.manual_seed(0)
    x = np.ones((50, 40), np.float32)
    shared, own = nn.Dropout(0.5)(x).numpy(), nn.Dropout(0.5, shared=False)(x).numpy()
    assert (shared == shared[0]).all()
    assert not (own == own[0]).all()


def test_the_expected_signal_in_training_is_the_one_in_testing(rng):
    layer, W = nn.Dropout(0.3), rng.normal(size=(4, 1))
    x = rng.normal(size=(1, 4))
    tg.manual_seed(0)
    drawn = [(layer(x).numpy() @ W).item() for _ in range(4000)]
    assert (layer.eval()(x).numpy() @ W).item() == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 4000**0.5)


def test_gradients_pass_the_check_with_the_mask_held(rng):
    net = fully_connected([4, 6, 3], "tanh", dropout=0.5, seed=0)
    tg.gradcheck(net, rng.normal(size=(3, 4)), np.eye(3), losses.cross_entropy)


def test_settings_are_checked():
    with pytest.raises(ArgumentError, match="p must be at least 0 and below 1, got 1"):
        nn.Dropout(1)
    with pytest.raises(ArgumentError, match="one probability for each of the 2 layers but the last, got 3"):
        fully_connected([3, 4, 2], dropout=[0.1, 0.1, 0.1])
    assert "dropout1" not in dict(fully_connected([3, 4, 2], dropout=0.5).children())


def test_a_drawing_leaves_the_stream_of_masks_alone():
    net = fully_connected([4, 6, 3], dropout=0.5, seed=0)
    tg.manual_seed(5)
    expected = tg.bernoulli(0.5, 50).numpy()
    tg.manual_seed(5)
    tg.graph(net, input_shape=(None, 4))
    np.testing.assert_array_equal(tg.bernoulli(0.5, 50).numpy(), expected)


def test_a_run_with_dropout_continues_bit_for_bit(tmp_path, rng):
    X, labels = rng.normal(size=(40, 4)), rng.integers(0, 3, 40)

    def run(epochs, **options):
        net = fully_connected([4, 8, 3], dropout=[0.2, 0.5], seed=0)
        tg.fit(net, losses.cross_entropy, (X, labels), optim.SGD(net.parameters(), 0.1), epochs, 8, **options)
        return net.layer1.W.numpy()

    tg.manual_seed(2)
    whole = run(4)
    tg.manual_seed(2)
    run(2, checkpoint=tmp_path / "c")
    tg.manual_seed(99)
    np.testing.assert_array_equal(run(4, checkpoint=tmp_path / "c"), whole)


def one_pass(rng, **options):
    """The weights before and after one step with the masks of seed 11, and the masks."""
    net = fully_connected([3, 4, 2], "tanh", "linear", dropout=[0.4, 0.5], seed=0, dtype=np.float64)
    before = net.layer1.W.numpy(), net.layer2.W.numpy()
    batch = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    tg.manual_seed(11)
    masks = tg.bernoulli(0.4, (1, 3)).numpy()[0], tg.bernoulli(0.5, (1, 4)).numpy()[0]
    assert 0 in masks[0]
    assert 0 in masks[1]
    tg.manual_seed(11)
    tg.fit(net, losses.squared_error, [batch], optim.SGD(net.parameters(), 0.1), 1, l2=0.1, l1=0.01, **options)
    return before, (net.layer1.W.numpy(), net.layer2.W.numpy()), masks


def test_both_regularisers_leave_sleeping_weights_alone_on_request(rng):
    before, after, (m1, m2) = one_pass(rng, freeze_sleeping=True)
    asleep = np.outer(m1 == 0, np.ones(4, bool)) | np.outer(np.ones(3, bool), m2 == 0)
    np.testing.assert_array_equal(after[0][asleep], before[0][asleep])
    assert (after[0][~asleep] != before[0][~asleep]).all()
    np.testing.assert_array_equal(after[1][m2 == 0], before[1][m2 == 0])
    assert (after[1][m2 == 1] != before[1][m2 == 1]).all()


def test_by_default_both_regularisers_reach_sleeping_weights(rng):
    before, after, (_, m2) = one_pass(rng)
    W = before[1][m2 == 0]
    np.testing.assert_allclose(after[1][m2 == 0], W - 0.1 * (2 * 0.1 * W + 0.01 * np.sign(W)), rtol=1e-12)


def test_freezing_is_refused_where_it_would_not_be_exact(rng):
    net = fully_connected([3, 2], dropout=[0.5])
    for optimizer in (optim.SGD(net.parameters(), 0.1, 0.9), optim.Adam(net.parameters(), 0.1)):
        with pytest.raises(ArgumentError, match="freeze_sleeping needs SGD without momentum"):
            tg.fit(net, losses.cross_entropy, (np.zeros((2, 3)), [0, 1]), optimizer, freeze_sleeping=True)
