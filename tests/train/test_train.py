"""fit, its stopping rules, history, checkpoints; saving and loading."""

from functools import partial

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, labels, losses, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import fully_connected


@pytest.fixture
def blobs(rng):
    labels = rng.integers(0, 3, 60)
    return (rng.normal(size=(60, 4)) + 2 * np.eye(4)[labels]).astype(np.float32), labels


def make(seed=0):
    net = fully_connected([4, 8, 3], seed=seed)
    return net, optim.SGD(net.parameters(), 0.1, 0.9)


def test_training_lowers_loss_and_error(blobs):
    net, optimizer = make()
    history = tg.fit(net, losses.cross_entropy, blobs, optimizer, 20, 10, validation=blobs)
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert history.errors[-1] < 0.2 < history.errors[0]
    assert len(history) == len(history.times) == 20
    assert history.stop_reason == "completed 20 epochs"
    loss, error = tg.evaluate(net, losses.cross_entropy, blobs)
    assert history["validation_loss"][-1] == pytest.approx(loss)
    assert history["validation_error"][-1] == error
    assert net.training


def test_evaluate_counts_wrong_decisions(blobs):
    net, _ = make()
    X, labels = blobs
    wrong = (net(X).numpy().argmax(1) != labels).mean()
    assert tg.evaluate(net, losses.cross_entropy, (X, labels), batch_size=7)[1] == pytest.approx(wrong)


def test_signals_that_are_nan_count_as_wrong_decisions(blobs):
    net, _ = make()
    X, labels = blobs
    net.layer1.W.assign_(np.full(net.layer1.W.shape, np.nan, np.float32))
    assert tg.evaluate(net, losses.cross_entropy, (X, labels))[1] == 1


def test_the_same_seed_gives_the_same_bits(blobs):
    runs = []
    for _ in range(2):
        net, optimizer = make()
        tg.fit(net, losses.cross_entropy, blobs, optimizer, 3, 7, seed=5)
        runs.append(net.layer1.W.numpy())
    np.testing.assert_array_equal(*runs)


def test_regularisers_enter_gradient_and_history(blobs):
    net, optimizer = make()
    plain = tg.fit(net, losses.cross_entropy, blobs, optimizer, 15, 10)
    other, optimizer = make()
    decayed = tg.fit(other, losses.cross_entropy, blobs, optimizer, 15, 10, l2=0.05, l1=0.01)
    assert losses.l2(other, 1.0).item() < 0.5 * losses.l2(net, 1.0).item()
    data_loss, _ = tg.evaluate(other, losses.cross_entropy, blobs)
    penalty = losses.l2(other, 0.05).item() + losses.l1(other, 0.01).item()
    assert decayed.losses[-1] == pytest.approx(data_loss + penalty, rel=0.2)
    assert plain.losses[-1] < decayed.losses[-1]


def test_other_losses_get_the_prediction_and_own_functions_the_network(blobs):
    X, labels = blobs
    net = fully_connected([4, 3], output="sigmoid", seed=0)
    Y = np.eye(3)[labels]
    history = tg.fit(net, losses.squared_error, (X, Y), optim.SGD(net.parameters(), 0.5), 5)
    assert 0 < history.losses[-1] < 3  # of predictions in (0, 1), not of signals
    assert history.errors[-1] is not None
    seen = []

    def own(network, x, y):
        seen.append((network is net, x.shape, y.shape))
        return losses.squared_error(network.predict(x, train=True), y.astype(np.float32))

    tg.fit(net, own, [(X, Y)], optim.SGD(net.parameters(), 0.5), 2, compiled=False)
    assert seen == [(True, (60, 4), (60, 3))] * 2


def test_batches_of_ones_own(blobs):
    net, optimizer = make()
    X, labels = blobs
    batches = [(X[:30], labels[:30]), (X[30:], labels[30:])]
    history = tg.fit(net, losses.cross_entropy, batches, optimizer, 3)
    assert len(history) == 3
    with pytest.raises(DataError, match="was exhausted after the first epoch; pass a list or another re-iterable"):
        tg.fit(net, losses.cross_entropy, iter(batches), optimizer, 3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("every", ["iteration", "epoch"])
def test_stop_tolerance(blobs, every, compiled):
    net, optimizer = make()
    options = {"l2": 1e-2, "stop_tolerance": 1e-3, "stop_every": every, "compiled": compiled}
    history = tg.fit(net, losses.cross_entropy, blobs, optimizer, 500, 20, **options)
    changes = np.abs(np.diff(history.risks))
    assert changes[-1] <= 1e-3 < changes[:-1].min()
    assert len(changes) == (history.iterations if every == "iteration" else len(history)) < 500
    assert f"the risk changed by {changes[-1]:.3g}, no more than 0.001, in {every} " in (history.stop_reason)
    risk = tg.evaluate(net, losses.cross_entropy, blobs)[0] + losses.l2(net, 1e-2).item()
    assert history.risks[-1] == pytest.approx(risk, rel=1e-6)


def test_looking_at_the_risk_does_not_change_training(blobs):
    """Neither its masks nor its running averages, nor the mode of its parts."""
    weights = []
    for options in ({}, {"stop_tolerance": 0.0}, {"stop_tolerance": 0.0, "stop_every": "epoch"}):
        tg.manual_seed(1)
        net = fully_connected([4, 8, 3], dropout=[0.1, 0.3], batch_norm=True, seed=0)
        tg.fit(net, losses.cross_entropy, blobs, optim.SGD(net.parameters(), 0.1, 0.9), 2, 16, **options)
        weights.append({name: t.numpy() for name, t in net.state_dict().items()})
    for other in weights[1:]:
        for name, value in weights[0].items():
            np.testing.assert_array_equal(other[name], value)


def test_the_number_of_iterations_is_limited(blobs):
    net, optimizer = make()
    history = tg.fit(net, losses.cross_entropy, blobs, optimizer, batch_size=20, max_iterations=32)  # 3 a pass
    assert (history.iterations, len(history), history.stop_reason) == (32, 11, "completed 32 iterations")
    for epochs, iterations, passes, stopped in ((2, 100, 2, "completed 2 epochs"), (9, 6, 2, "completed 6 iterations")):
        history = tg.fit(net, losses.cross_entropy, blobs, optimizer, epochs, 20, max_iterations=iterations)
        assert (history.iterations, len(history), history.stop_reason) == (6, passes, stopped)
    assert len(tg.fit(net, losses.cross_entropy, blobs, optimizer, batch_size=60)) == 10
    assert len(tg.fit(net, losses.cross_entropy, blobs, optimizer, max_iterations=0)) == 0


def test_samples_drawn_with_replacement(blobs):
    """The same draws from the same seed, as `data.batches` gives them; in a pass some rows come twice, some never."""
    X, labels = blobs
    rows = np.arange(60)
    drawn = data.batches(rows, batch_size=7, replacement=True, seed=3)
    first, second = (np.concatenate([b for (b,) in drawn]) for _ in range(2))
    assert len(first) == 60
    assert 25 < len(set(first)) < 50
    assert (first != second).any()
    for compiled in (False, True):
        net, optimizer = make()
        tg.fit(net, losses.cross_entropy, blobs, optimizer, 2, 7, replacement=True, seed=3, compiled=compiled)
        other, optimizer = make()
        drawn.set_epoch(0)
        own = [(X[b], labels[b]) for _ in range(2) for (b,) in drawn]
        tg.fit(other, losses.cross_entropy, own, optimizer, 1, compiled=compiled)
        np.testing.assert_array_equal(net.layer1.W.numpy(), other.layer1.W.numpy())


def test_early_stopping_keeps_the_pocket_variables_65_94(blobs, rng):
    X, labels = blobs
    held_out = X + 0.5 * rng.normal(size=X.shape).astype(np.float32), rng.permutation(labels)
    net, optimizer = make()
    history = tg.fit(net, losses.cross_entropy, blobs, optimizer, 200, 10, validation=held_out, early_stopping=4)
    errors = history["validation_error"]
    best = int(np.argmin(errors))
    assert len(history) == best + 1 + 4 < 200
    assert tg.evaluate(net, losses.cross_entropy, held_out)[1] == errors[best]
    assert f"best was epoch {best + 1}" in history.stop_reason


def test_a_validation_set_without_a_single_label_never_improves(blobs):
    net = fully_connected([4, 3], output="sigmoid", seed=0)
    missing = blobs[0], np.full((60, 3), np.nan)
    train, optimizer = (blobs[0], np.eye(3)[blobs[1]]), optim.SGD(net.parameters(), 0.1)
    options = {"validation": missing, "early_stopping": 3}
    history = tg.fit(net, losses.binary_cross_entropy, train, optimizer, 9, **options)
    assert (len(history), history.best_epoch) == (3, 0)


CUT = [{"epochs": 2}, {"max_iterations": 9}, {"max_iterations": 23}, {"max_iterations": 27}]  # 9 iterations a pass


@pytest.mark.parametrize("cut", CUT, ids=str)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"early_stopping": 50},
        {"early_stopping": True, "early_stopping_on": "loss", "replacement": True},
        {"stop_tolerance": 0.0},
        {"stop_tolerance": 0.0, "stop_every": "epoch"},
    ],
    ids=str,
)
def test_a_run_that_was_killed_continues_bit_for_bit(blobs, tmp_path, more, cut):
    options = {"batch_size": 7, "l2": 1e-3, "validation": blobs, "seed": 3, **more}

    def masked(seed):
        net = fully_connected([4, 8, 3], dropout=0.2, seed=seed)
        return net, optim.SGD(net.parameters(), 0.1, 0.9)

    tg.manual_seed(2)
    whole, optimizer = masked(0)
    expected = tg.fit(whole, losses.cross_entropy, blobs, optimizer, 5, **options)
    tg.manual_seed(2)
    first, optimizer = masked(0)
    path = tmp_path / "c.safetensors"
    early = tg.fit(first, losses.cross_entropy, blobs, optimizer, **cut, **options, checkpoint=path)
    tg.manual_seed(9)
    again, optimizer = masked(9)  # asked for no more, it ends with the same
    repeated = tg.fit(again, losses.cross_entropy, blobs, optimizer, **cut, **options, checkpoint=path)
    assert (repeated.losses, repeated["validation_loss"]) == (early.losses, early["validation_loss"])
    assert (repeated.iterations, repeated.stop_reason) == (early.iterations, early.stop_reason)
    second, optimizer = masked(9)
    history = tg.fit(second, losses.cross_entropy, blobs, optimizer, 5, **options, checkpoint=path)
    for column in ("loss", "error", "validation_loss", "validation_error"):
        assert history[column] == expected[column]
    assert history.risks == expected.risks
    assert (history.iterations, history.best_epoch) == (expected.iterations, expected.best_epoch)
    for one, other in ((whole, second), (first, again)):
        for name, value in one.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[name].numpy(), value.numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_of_another_run_is_refused(blobs, tmp_path):
    net, optimizer = make()
    tg.fit(net, losses.cross_entropy, blobs, optimizer, 1, checkpoint=tmp_path / "c")
    with pytest.raises(DataError, match=r"another run: l2 was 0.0 and is 0.1; batch_size was 32 and is 5; start a new"):
        tg.fit(net, losses.cross_entropy, blobs, optimizer, 2, 5, l2=0.1, checkpoint=tmp_path / "c")
    (tmp_path / "c").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a safetensors file, or damaged"):
        tg.fit(net, losses.cross_entropy, blobs, optimizer, 2, checkpoint=tmp_path / "c")


def test_bad_data_is_named_before_training(blobs):
    net, optimizer = make()
    X, labels = blobs
    broken = X.copy()
    broken[3, 1] = np.nan
    for train_set, text in (
        ((broken, labels), r"train_set: X: nan at \[3, 1\]"),
        ((X, labels[:-1]), "one row a sample"),
        ((X[:0], labels[:0]), "the data set is empty"),
        ((X, labels + 1), "labels: 3 in row"),
        ((X, np.eye(4)[labels]), r"rows of shape \(60, 3\), got shape \(60, 4\)"),
        ((X, 2.0 * np.eye(3)[labels]), "adding up to 1; row 0 is"),
    ):
        with pytest.raises(DataError, match=text):
            tg.fit(net, losses.cross_entropy, train_set, optimizer)
    for options, text in (
        ({"epochs": -1}, "epochs must be a whole number of at least 0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"early_stopping": 3}, "needs a validation set"),
        ({"early_stopping": 0, "validation": blobs}, "early_stopping must be a whole number of at least 1, got 0"),
        ({"early_stopping_on": "loss", "validation": blobs}, "give early_stopping too"),
        ({"early_stopping": True, "early_stopping_on": "risk", "validation": blobs}, "'risk' is not known; known:"),
        ({"stop_tolerance": -1.0}, "stop_tolerance must be a finite number of at least 0"),
        ({"stop_tolerance": 1.0, "stop_every": "pass"}, "stop_every 'pass' is not known; known: iteration, epoch"),
        ({"max_iterations": 2.5}, "max_iterations must be a whole number of at least 0, got 2.5"),
        ({"l2": -1.0}, "l2 must be a finite number of at least 0"),
    ):
        with pytest.raises(ArgumentError, match=text):
            tg.fit(net, losses.cross_entropy, blobs, optimizer, **options)
    for pair, got in ((X, "a ndarray"), ((X,), "1 of them")):
        with pytest.raises(DataError, match=rf"validation: expected a pair of arrays \(X, Y\), got {got}"):
            tg.fit(net, losses.cross_entropy, blobs, optimizer, validation=pair)
        with pytest.raises(DataError, match=rf"evaluate: expected a pair of arrays \(X, Y\), got {got}"):
            tg.evaluate(net, losses.cross_entropy, pair)
    batches = [(X, np.eye(3)[labels])]
    with pytest.raises(ArgumentError, match="replacement draws from a pair of arrays"):
        tg.fit(net, losses.cross_entropy, batches, optimizer, replacement=True)
    with pytest.raises(ArgumentError, match="stop_tolerance goes through the training set again: give a list"):
        tg.fit(net, losses.cross_entropy, iter(batches), optimizer, stop_tolerance=1.0)
    regression = fully_connected([4, 1], output="linear", seed=0)
    with pytest.raises(ArgumentError, match="early_stopping_on='error': nothing is decided here"):
        tg.fit(
            regression,
            losses.squared_error,
            (X, X[:, :1]),
            optim.SGD(regression.parameters(), 0.1),
            validation=(X, X[:, :1]),
            early_stopping=True,
            early_stopping_on="error",
        )
    with pytest.raises(
        ArgumentError, match=r"train_set is a list of arrays; give a pair of arrays as a tuple \(X, Y\)"
    ):
        tg.fit(net, losses.cross_entropy, [X, labels], optimizer)
    with pytest.raises(ArgumentError, match="train_set must be a pair"):
        tg.fit(net, losses.cross_entropy, 3, optimizer)


def test_a_loss_that_explodes_is_told(blobs):
    net, _ = make()
    with (
        np.errstate(all="ignore"),
        pytest.raises(DataError, match="the loss became .* in epoch .*: lower the learning rate"),
    ):
        tg.fit(net, losses.squared_error, (blobs[0], np.eye(3)[blobs[1]] * 1e20), optim.SGD(net.parameters(), 1e30), 3)
    assert net.training


def test_history_as_csv(blobs, tmp_path):
    net, optimizer = make()
    history = tg.fit(net, losses.cross_entropy, blobs, optimizer, 2)
    history.save_csv(tmp_path / "h.csv")
    lines = (tmp_path / "h.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,error,validation_loss,validation_error,seconds"
    assert lines[2].startswith(f"2,{history.losses[1]},{history.errors[1]},,,")
    with pytest.raises(ArgumentError, match="no column 'accuracy'"):
        history["accuracy"]


def test_weights_survive_a_file(tmp_path):
    net, other = fully_connected([4, 3], seed=0), fully_connected([4, 3], seed=1)
    tg.save(tmp_path / "w.safetensors", net)
    tg.load(tmp_path / "w.safetensors", other)
    np.testing.assert_array_equal(net.layer1.W.numpy(), other.layer1.W.numpy())
    from safetensors.numpy import load_file

    assert set(load_file(tmp_path / "w.safetensors")) == {"layer1.W", "layer1.theta"}


def test_a_transposed_parameter_is_saved_right(tmp_path):
    net = fully_connected([2, 3], seed=0)
    W = np.arange(6, dtype=np.float32).reshape(3, 2).T
    net.layer1.W.data = net.layer1.W.backend.asarray(W)
    tg.save(tmp_path / "w", net)
    other = fully_connected([2, 3], seed=1)
    tg.load(tmp_path / "w", other)
    np.testing.assert_array_equal(other.layer1.W.numpy(), W)


def test_files_that_cannot_be_loaded_or_written(tmp_path):
    net = fully_connected([4, 3], seed=0)
    with pytest.raises(DataError, match="there is no such file"):
        tg.load(tmp_path / "absent", net)
    (tmp_path / "bad").write_bytes(b"\x00" * 20)
    with pytest.raises(DataError, match="not a safetensors file, or damaged"):
        tg.load(tmp_path / "bad", net)
    tg.save(tmp_path / "other", fully_connected([4, 2]))
    with pytest.raises(
        DataError, match=r"another network than the one given: .*layer1\.W has shape \(4, 3\), the value has \(4, 2\)"
    ):
        tg.load(tmp_path / "other", net)
    with pytest.raises(DataError, match="cannot write .*: No such file or directory"):
        tg.save(tmp_path / "no" / "folder", net)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "other"]


@pytest.mark.host
def test_the_digits_are_learned_to_four_percent():
    digits = data.load("digits")
    net = fully_connected([64, 64, 10], seed=0)
    tg.fit(net, losses.cross_entropy, digits.train, optim.SGD(net.parameters(), 0.05, 0.9), 40, l2=1e-3)
    assert tg.evaluate(net, losses.cross_entropy, digits.test)[1] <= 0.04


@pytest.mark.parametrize("options", [{}, {"l2": 1e-2, "l1": 1e-3}], ids=["plain", "regularised"])
@pytest.mark.parametrize("network", [{}, {"dropout": [0.1, 0.3], "batch_norm": True}], ids=["plain", "masks and norms"])
def test_compiled_training_is_eager_training(blobs, network, options):
    X, labels = blobs
    histories, weights = [], []
    for compiled in (False, True):
        tg.manual_seed(1)
        net = fully_connected([4, 8, 3], seed=0, **network)
        optimizer = optim.SGD(net.parameters(), 0.1, 0.9)
        data = (X[:50], labels[:50])  # a last batch that is smaller
        histories.append(
            tg.fit(
                net, losses.cross_entropy, data, optimizer, 6, 16, validation=(X, labels), compiled=compiled, **options
            )
        )
        weights.append([t.numpy() for t in net.state_dict().values()])
        assert all(p.grad is None for p in net.parameters())
    eager, replayed = histories
    np.testing.assert_allclose(replayed.losses, eager.losses, rtol=1e-4)
    np.testing.assert_allclose(replayed["validation_loss"], eager["validation_loss"], rtol=1e-4)
    assert replayed.errors[-1] == pytest.approx(eager.errors[-1], abs=0.021)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)


def test_a_step_that_cannot_be_compiled_runs_eagerly_and_says_so(blobs):
    X, labels = blobs
    net = fully_connected([4, 3], seed=0)
    start = net.layer1.W.numpy()

    def own(network, x, y):
        loss = losses.cross_entropy(network(x), y)
        return loss * (1.0 if float(loss) < 1e9 else 0.0)

    with pytest.warns(
        RuntimeWarning,
        match="could not compile the training step, running eagerly; pass compiled=False .* this. compile: item",
    ):
        history = tg.fit(net, own, [(X, np.eye(3, dtype=np.float32)[labels])], optim.SGD(net.parameters(), 0.5), 3)
    assert history.losses[-1] < history.losses[0]
    assert (net.layer1.W.numpy() != start).any()


def test_a_checkpoint_beyond_a_limit_is_left_as_it_is(blobs, tmp_path):
    path = tmp_path / "run.safetensors"
    net, optimizer = make()
    tg.fit(net, losses.cross_entropy, blobs, optimizer, batch_size=20, max_iterations=8, checkpoint=path)  # 3 a pass
    before, written = net.layer1.W.numpy(), path.read_bytes()
    for limits, stopped in (
        ({"max_iterations": 5}, "the checkpoint has 8 iterations, more than the limit of 5"),
        ({"epochs": 1, "max_iterations": 20}, "the checkpoint has 2 epochs, more than the limit of 1"),
    ):
        net, optimizer = make()
        history = tg.fit(net, losses.cross_entropy, blobs, optimizer, batch_size=20, checkpoint=path, **limits)
        assert (history.iterations, history.stop_reason) == (8, stopped)
        np.testing.assert_array_equal(net.layer1.W.numpy(), before)
        assert path.read_bytes() == written


WHOLE = {
    "squared_error": (losses.squared_error, [[1, 0], [0, 1]]),
    "binary_cross_entropy": (losses.binary_cross_entropy, [[True, False], [False, True]]),
    "multitask_cross_entropy": (losses.multitask_cross_entropy, [[1, 0], [0, 1]]),
    "huber": (losses.huber, [[2, 0], [0, -3]]),
    "logistic": (losses.logistic, [[1, -1], [-1, 1]]),
    "logistic_with_logits": (losses.logistic_with_logits, [[1, -1], [-1, 1]]),
}


@pytest.mark.parametrize(("loss", "labels"), WHOLE.values(), ids=list(WHOLE))
def test_labels_may_be_whole_numbers_wherever_they_are_taken(loss, labels):
    net = fully_connected([3, 2], output="tanh", seed=0)
    X, floats = np.eye(3, dtype=np.float32)[:2], np.array(labels, np.float32)
    assert loss(net(X), labels).item() == loss(net(X), np.array(labels)).item() == loss(net(X), floats).item()
    assert tg.evaluate(net, loss, (X, np.array(labels))) == tg.evaluate(net, loss, (X, floats))
    histories = []
    for batches in ((X, np.array(labels)), [(X, np.array(labels))], [(X, floats)]):
        net = fully_connected([3, 2], output="tanh", seed=0)
        optimizer = optim.SGD(net.parameters(), 0.1)
        histories.append(tg.fit(net, loss, batches, optimizer, 2, compiled=False).losses)
    assert histories[0] == pytest.approx(histories[1])
    assert histories[1] == histories[2]


def test_evaluate_checks_labels_as_fit_does(blobs):
    net = fully_connected([4, 1], output="tanh", seed=0)
    with pytest.raises(DataError, match="evaluate: labels must be -1 or 1; Y has 0"):
        tg.evaluate(net, losses.logistic, (blobs[0], np.zeros((60, 1))))


def test_a_loss_of_ones_own_that_says_what_it_takes(blobs):
    def doubled(output, target):
        return 2.0 * losses.cross_entropy(output, target)

    def of_the_prediction(output, target):
        return losses.squared_error(output, target)

    found = []
    for loss in (losses.cross_entropy, losses.Loss(doubled, "logits", labels.CLASSES)):
        net, optimizer = make()
        history = tg.fit(net, loss, blobs, optimizer, 1, validation=blobs)
        found.append((history.losses[0], history.errors[0], *tg.evaluate(net, loss, blobs)))
    assert found[1][0] > found[0][0]
    assert None not in found[1]
    own = losses.Loss(of_the_prediction, "prediction")
    net, _ = make()
    rows = blobs[0], np.eye(3)[blobs[1]]
    assert tg.evaluate(net, own, rows) == tg.evaluate(net, losses.squared_error, rows)
    with pytest.raises(ArgumentError, match="takes 'output' is not known; known: logits, prediction"):
        losses.Loss(doubled, "output")


def test_data_are_looked_through_once(blobs, monkeypatch):
    looked = []
    monkeypatch.setattr(np, "isfinite", lambda x, f=np.isfinite: looked.append(np.shape(x)) or f(x))
    net, optimizer = make()
    tg.fit(net, losses.squared_error, (blobs[0], np.eye(3)[blobs[1]]), optimizer, 2)
    tg.evaluate(net, losses.squared_error, (blobs[0], np.eye(3)[blobs[1]]))
    assert [s for s in looked if s] == [(60, 4), (60, 3)] * 2


def test_options_filled_in_keep_what_is_known_of_a_loss(tmp_path):
    net = tg.models.multitask([4], 2, 3, seed=0)
    X, Y = np.eye(3, dtype=np.float32), np.array([[1, np.nan], [0, 1], [np.nan, 0]])
    optimizer = optim.SGD(net.parameters(), 0.1)
    history = tg.fit(net, partial(losses.multitask_cross_entropy), (X, Y), optimizer, 1)
    assert history.errors[0] is not None
    with pytest.raises(DataError, match="labels must be -1 or 1"):
        tg.fit(net, partial(losses.logistic), (X, np.full((3, 4), 0.5)), optimizer, 1)
    path = tmp_path / "run.safetensors"
    net = fully_connected([3, 2], output="linear", seed=0)
    optimizer = optim.SGD(net.parameters(), 0.1)
    tg.fit(net, partial(losses.huber, delta=0.5), (X, X[:, :2]), optimizer, 1, checkpoint=path)
    with pytest.raises(DataError, match="another run: loss.delta was 0.5 and is 2.0"):
        tg.fit(net, partial(losses.huber, delta=2.0), (X, X[:, :2]), optimizer, 2, checkpoint=path)
