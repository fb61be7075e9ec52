"""What a `Recorder` measures, held against plain loops, and that it leaves the training as it was."""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim, plots
from tinygraph.models import fully_connected, siamese
from tinygraph.plots.recorder import histogram


@pytest.fixture
def samples(rng):
    """Twelve samples of four features in three classes."""
    return rng.standard_normal((12, 4)).astype(np.float32), np.arange(12) % 3


def train(net, samples, recorder=None, epochs=3, loss=losses.cross_entropy, **options):
    optimizer = optim.SGD(net.parameters(), 0.1)
    callbacks = [] if recorder is None else [recorder]
    return tg.fit(net, loss, samples, optimizer, epochs, 4, callbacks=callbacks, progress=False, **options)


# what is measured -------------------------------------------------------------------------------


def test_the_norms_are_those_of_backpropagation_by_hand(samples):
    X, y = samples
    net = fully_connected([4, 5, 3], "tanh", seed=0)
    moment = plots.Recorder(losses.cross_entropy, samples).measure(net)
    W1, theta1, W2, theta2 = (p.numpy().astype(float) for p in net.parameters())
    squares = {"z2": 0.0, "z3": 0.0}
    gradients = {"z2": np.zeros((4, 5)), "z3": np.zeros((5, 3))}
    loss = 0.0
    for h, label in zip(X, y, strict=True):  # sample by sample, (65.53) and (65.63)
        y2 = np.tanh(h @ W1 - theta1)
        e = np.exp(y2 @ W2 - theta2)
        loss -= math.log(e[label] / e.sum()) / 12
        delta3 = e / e.sum() - np.eye(3)[label]
        delta2 = (W2 @ delta3) * (1 - y2**2)
        for name, delta, before in (("z2", delta2, h), ("z3", delta3, y2)):
            squares[name] += delta @ delta / 12
            gradients[name] += np.outer(before, delta) / 12
    assert moment.loss == pytest.approx(loss, rel=1e-5)
    for name, layer in moment.layers.items():
        assert layer.sensitivity == pytest.approx(math.sqrt(squares[name]), rel=1e-5)
        assert layer.gradient == pytest.approx(np.linalg.norm(gradients[name]), rel=1e-5)
        assert math.isnan(layer.update)
    last = moment.layers["z3"]
    assert last.signal == "z3"
    assert math.isnan(last.saturated)
    assert math.isnan(last.dead)


@pytest.mark.parametrize(("activation", "f"), [("relu", lambda z: max(z, 0.0)), ("tanh", math.tanh)])
def test_histograms_and_shares_are_of_the_outputs_of_the_activation(samples, activation, f):
    net = fully_connected([4, 40, 3], activation, seed=0)
    net.layer1.theta.assign_(np.linspace(-2, 9, 40).astype(np.float32))  # the last nodes are off
    layer = plots.Recorder(losses.cross_entropy, samples).measure(net).layers["z2"]
    z = samples[0] @ net.layer1.W.numpy() - net.layer1.theta.numpy()
    if activation == "relu":
        assert layer.dead == pytest.approx(sum(all(v <= 0 for v in column) for column in z.T) / 40)
        assert 0 < layer.dead < 1
        assert math.isnan(layer.saturated)
    else:
        assert layer.saturated == pytest.approx(sum(1 - math.tanh(v) ** 2 < 0.05 for v in z.ravel()) / z.size)
        assert 0 < layer.saturated < 1
    y = [f(v) for v in z.ravel()]
    assert layer.signal == "y2"
    assert (layer.edges[0], layer.edges[-1]) == pytest.approx((min(y), max(y)))
    expected = np.cumsum([0, *layer.counts])[1:-1]  # how many lie below each edge between two bins
    below = [sum(v < edge for v in y) for edge in layer.edges[1:-1]]
    assert np.abs(expected - below).max() <= 1  # rounding may move one that is at an edge
    assert layer.counts.sum() == len(y)


def test_the_ratio_is_that_of_one_update(samples):
    net = fully_connected([4, 5, 3], seed=0)
    weights = []

    class Keep(tg.Callback):
        def start(self, training):
            weights.append([net.layer1.W.numpy().copy(), net.layer2.W.numpy().copy()])

        batch = start

    recorder = plots.Recorder(losses.cross_entropy, samples, most=5)
    optimizer = optim.Adam(net.parameters(), 0.01)
    tg.fit(net, losses.cross_entropy, samples, optimizer, 5, 4, callbacks=[Keep(), recorder], progress=False)
    assert [moment.iteration for moment in recorder.moments] == [0, 4, 8, 12, 15]
    for moment in recorder.moments[1:-1]:
        for i, layer in enumerate(moment.layers.values()):
            before, after = weights[moment.iteration - 1][i], weights[moment.iteration][i]
            assert layer.update == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-4)


def test_signals_that_are_normalised_are_measured_in_training_mode(samples):
    X, y = samples
    net = fully_connected([4, 5, 3], "sigmoid", batch_norm="hidden", seed=0).eval()
    moment = plots.Recorder(losses.cross_entropy, samples).measure(net)
    assert not net.training
    assert net.norm2.mean.numpy().tolist() == [0.0] * 5
    net.train()
    expected = tg.gradient_norms(losses.cross_entropy(net(X), y), net)
    for name, layer in moment.layers.items():
        assert (layer.sensitivity, layer.gradient) == (expected[name].sensitivity, expected[name].gradient)


def test_a_branch_called_twice_and_a_loss_of_ones_own(samples):
    pairs = np.stack([samples[0], samples[0][::-1]], axis=1)
    same = np.where(samples[1] == samples[1][::-1], 1.0, -1.0)
    net = siamese([4, 5, 3], seed=0)
    own = plots.Recorder(lambda net, x, y: losses.squared_error(net(x), y), (pairs, same.astype(np.float32)))
    given = plots.Recorder(losses.squared_error, (pairs, same))
    names = ["branch.z2#1", "branch.z2#2", "branch.z3#1", "branch.z3#2"]
    assert sorted(own.measure(net).layers) == sorted(given.measure(net).layers) == names
    assert own.measure(net).loss == pytest.approx(given.measure(net).loss)
    last = own.measure(net).layers["branch.z3#2"]
    assert last.signal == "branch.y3#2"
    assert 0 <= last.saturated <= 1


def test_numbers_that_are_not_finite_are_left_out_of_histograms(samples):
    net = fully_connected([4, 5, 3], seed=0)
    net.layer1.W.assign_(np.full((4, 5), np.nan, np.float32))
    assert plots.Recorder(losses.cross_entropy, samples).measure(net).layers["z2"].counts.sum() == 0


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ([0.5, np.nextafter(0.5, 1.0), np.nextafter(0.5, 0.0)], 3),
        ([-3.0, -3.0], 2),
        ([0.0, 5e-324], 2),
        ([1e308, -1e308, np.inf, 1.0], 1),
        ([], 0),
    ],
)
@pytest.mark.host
def test_histograms_of_numbers_close_together_or_very_large(values, counted):
    counts, edges = histogram(np.array(values))
    assert counts.sum() == counted
    assert (np.diff(edges) > 0).all()


# when it is measured ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"batch_norm": "all"}])
def test_training_is_the_same_to_the_bit(samples, options):
    nets = []
    for recorder in (None, plots.Recorder(losses.cross_entropy, samples, most=3)):
        tg.manual_seed(3)
        nets.append(fully_connected([4, 5, 3], seed=0, **options))
        train(nets[-1], samples, recorder)
    for (name, a), (_, b) in zip(*(net.named_tensors() for net in nets), strict=True):
        assert np.array_equal(a.numpy(), b.numpy()), name


@pytest.mark.parametrize("most", [2, 3, 4, 7, 100])
@pytest.mark.parametrize("epochs", [1, 2, 11])
def test_moments_are_evenly_apart_and_few_and_end_with_the_last_epoch(samples, most, epochs):
    recorder = plots.Recorder(losses.cross_entropy, samples, most)
    train(fully_connected([4, 5, 3], seed=0), samples, recorder, epochs)
    when = [moment.iteration for moment in recorder.moments]
    assert (when[0], when[-1]) == (0, 3 * epochs)
    gaps = set(np.diff(when[:-1]).tolist())
    assert len(gaps) <= 1
    assert len(when) <= most + 1
    if most > 3 * epochs:
        assert when == list(range(3 * epochs + 1))


def test_another_run_begins_it_anew_and_a_checkpoint_goes_on(samples, tmp_path):
    recorder = plots.Recorder(losses.cross_entropy, samples)
    net = fully_connected([4, 5, 3], seed=0)
    for epochs, first in ((1, 0), (2, 3)):
        train(net, samples, recorder, epochs, checkpoint=tmp_path / "run")
        assert [moment.iteration for moment in recorder.moments] == list(range(first, 3 * epochs + 1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((np.ones((3, 4)),), r"samples must be arrays \(X, Y\) or \(X, Y, weights\)"),
        (((np.ones((3, 4)), np.ones(3)), 1), "most must be a whole number of at least 2, got 1"),
    ],
)
def test_mistakes_are_told(arguments, text):
    with pytest.raises(tg.ArgumentError, match="loss_fn must be a loss as fit takes it, got 'cross_entropy'"):
        plots.Recorder("cross_entropy", (1, 2))
    with pytest.raises(tg.ArgumentError, match=text):
        plots.Recorder(losses.cross_entropy, *arguments)
