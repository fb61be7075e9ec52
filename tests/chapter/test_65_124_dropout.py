"""(65.120)-(65.124): masks from a seed, one a mini-batch or one a sample, and scaling in testing."""

import numpy as np
import pytest

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


def test_training_by_the_listing_with_its_masks(rng):
    """The forward pass (65.121) and the update of a network with masks at input and hidden layer, in loops."""
    net = fully_connected([3, 4, 2], "tanh", "linear", dropout=[0.4, 0.5], init_bias="normal", seed=0, dtype=np.float64)
    W = [net.layer1.W.numpy(), net.layer2.W.numpy()]
    theta = [net.layer1.theta.numpy(), net.layer2.theta.numpy()]
    X, Y, mu = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), 0.1
    optimizer = optim.SGD(net.parameters(), mu)
    tg.manual_seed(3)
    masks = [tg.bernoulli(0.4, (1, 3), np.float64).numpy()[0], tg.bernoulli(0.5, (1, 4), np.float64).numpy()[0]]
    assert not all(m.all() for m in masks)
    tg.manual_seed(3)
    losses.squared_error(net(X), Y).backward()
    optimizer.step()
    dW, dtheta = [np.zeros((3, 4)), np.zeros((4, 2))], [np.zeros(4), np.zeros(2)]
    for h, gamma in zip(X, Y, strict=True):
        x1 = h * masks[0]
        y2 = np.tanh(x1 @ W[0] - theta[0])
        x2 = y2 * masks[1]
        delta3 = 2 * (x2 @ W[1] - theta[1] - gamma)
        delta2 = (1 - y2**2) * masks[1] * (W[1] @ delta3)
        for l, (x, delta) in enumerate(((x1, delta2), (x2, delta3))):
            dW[l] += np.outer(x, delta) / 5
            dtheta[l] -= delta / 5
    for l, layer in enumerate((net.layer1, net.layer2)):
        np.testing.assert_allclose(layer.W.numpy(), W[l] - mu * dW[l], rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(layer.theta.numpy(), theta[l] - mu * dtheta[l], rtol=1e-11, atol=1e-14)
    asleep = masks[1] == 0  # the weights from and to a sleeping node stay frozen
    np.testing.assert_array_equal(net.layer2.W.numpy()[asleep], W[1][asleep])
    np.testing.assert_array_equal(net.layer1.W.numpy()[:, asleep], W[0][:, asleep])


def test_one_mask_a_batch_or_one_a_sample():
    tg.manual_seed(0)
    x = np.ones((50, 40), np.float32)
    shared, own = nn.Dropout(0.5)(x).numpy(), nn.Dropout(0.5, shared=False)(x).numpy()
    assert (shared == shared[0]).all()
    assert not (own == own[0]).all()


def test_scaling_in_testing_equals_scaling_the_weights_65_124(rng):
    net = fully_connected([3, 4, 2], "tanh", dropout=[0.2, 0.5], init_bias="normal", seed=0, dtype=np.float64)
    scaled = fully_connected([3, 4, 2], "tanh", seed=1, dtype=np.float64)
    for l, p in ((1, 0.2), (2, 0.5)):
        ours, theirs = getattr(net, f"layer{l}"), getattr(scaled, f"layer{l}")
        theirs.W.assign_((1 - p) * ours.W.numpy())
        theirs.theta.assign_(ours.theta.numpy())  # the source of the biases never sleeps
    X = rng.normal(size=(6, 3))
    np.testing.assert_allclose(net.predict(X).numpy(), scaled.predict(X).numpy(), rtol=1e-12)


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


def test_sleeping_weights_are_frozen_under_regularisation_on_request(rng):
    before, after, (m1, m2) = one_pass(rng, freeze_sleeping=True)
    asleep = np.outer(m1 == 0, np.ones(4, bool)) | np.outer(np.ones(3, bool), m2 == 0)
    np.testing.assert_array_equal(after[0][asleep], before[0][asleep])
    assert (after[0][~asleep] != before[0][~asleep]).all()
    np.testing.assert_array_equal(after[1][m2 == 0], before[1][m2 == 0])
    assert (after[1][m2 == 1] != before[1][m2 == 1]).all()


def test_by_default_regularisation_reaches_sleeping_weights_as_65_124_has_it(rng):
    before, after, (_, m2) = one_pass(rng)
    W = before[1][m2 == 0]
    np.testing.assert_allclose(after[1][m2 == 0], W - 0.1 * (2 * 0.1 * W + 0.01 * np.sign(W)), rtol=1e-12)


def test_freezing_is_refused_where_it_would_not_be_exact(rng):
    net = fully_connected([3, 2], dropout=[0.5])
    for optimizer in (optim.SGD(net.parameters(), 0.1, 0.9), optim.Adam(net.parameters(), 0.1)):
        with pytest.raises(ArgumentError, match="exact for SGD without momentum only"):
            tg.fit(net, losses.cross_entropy, (np.zeros((2, 3)), [0, 1]), optimizer, freeze_sleeping=True)
