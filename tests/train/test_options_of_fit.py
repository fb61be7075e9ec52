"""What `fit` takes beside network, loss, data and optimiser: schedules, callbacks, metrics, weights, other data."""

import contextlib
import functools
import io
import math
import sys
import types

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError, DataError, ShapeError
from tinygraph.models import fully_connected
from tinygraph.train import progress

pytestmark = pytest.mark.host
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4)).astype(np.float32)
L = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
Y = np.eye(3, dtype=np.float32)[L]
V = (X[:12], L[:12])


def network(output="softmax"):
    return fully_connected([4, 8, 3 if output == "softmax" else 1], output=output, seed=0)


def fit(net, train_set=(X, L), epochs=3, *, lr=0.1, optimizer=None, loss=losses.cross_entropy, batch=8, **options):
    optimizer = optimizer or optim.SGD(net.parameters(), lr)
    return tg.fit(net, loss, train_set, optimizer, epochs, batch, **{"progress": False, **options})


def weights(net):
    return [p.numpy() for p in net.parameters()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


# -- schedules ----------------------------------------------------------------------------------------


def test_warmup_grows_in_equal_parts_and_goes_on_as_told():
    sgd = optim.SGD([tg.parameter(0.0)], 0.8)
    schedule = optim.Warmup(sgd, 4, optim.ExponentialDecay(sgd, 0.5))
    rates = [sgd.lr]
    for _ in range(6):
        schedule.step()
        rates.append(sgd.lr)
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6, 0.8, 0.8, 0.4, 0.2])


@pytest.mark.parametrize("patience", [0, 2])
def test_a_plateau_is_that_of_pytorch(patience):
    torch = pytest.importorskip("torch")
    sgd, theirs = optim.SGD([tg.parameter(0.0)], 0.8), torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.8)
    ours = optim.Plateau(sgd, 0.5, patience, 0.01)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, "min", 0.5, patience, 0.01)
    for loss in [1.0, 0.995, 0.98, 0.98, 1.2, 0.5, 0.6, 0.499, 0.4, 0.7, 0.7, 0.7, 0.7, math.nan, 0.1]:
        ours.step(loss)
        peer.step(loss)
        assert sgd.lr == pytest.approx(theirs.param_groups[0]["lr"]), loss


@pytest.mark.parametrize("every", ["epoch", "iteration"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_schedule_is_stepped_by_fit(every, compiled):
    one, other = network(), network()
    sgd = optim.SGD(one.parameters(), 0.2)
    fit(one, optimizer=sgd, schedule=optim.InverseTimeDecay(sgd, 2), schedule_every=every, compiled=compiled)
    by_hand = optim.SGD(other.parameters(), 0.2)
    schedule = optim.InverseTimeDecay(by_hand, 2)
    for epoch in range(3):
        if every == "epoch":
            fit(other, epochs=1, optimizer=by_hand, compiled=False)
            schedule.step()
            continue
        batches = data.batches(X, Y, 8)
        batches.set_epoch(epoch)
        for x, y in batches:
            by_hand.zero_grad()
            losses.cross_entropy(other(x), y).backward()
            by_hand.step()
            schedule.step()
    assert sgd.lr == by_hand.lr == pytest.approx(0.2 / (1 + (3 if every == "epoch" else 15) / 2))
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_a_plateau_looks_at_the_validation_set():
    net = network()
    sgd = optim.SGD(net.parameters(), 1e-9)
    history = fit(net, optimizer=sgd, epochs=6, validation=V, schedule=optim.Plateau(sgd, 0.5, 1))
    assert len(history) == 6
    assert sgd.lr == pytest.approx(1e-9 / 4)  # nothing is learned at this rate


SCHEDULES = {
    "decay": lambda sgd: optim.CosineDecay(sgd, 8),
    "warm-up": lambda sgd: optim.Warmup(sgd, 3, optim.StepDecay(sgd, 2)),
    "plateau": lambda sgd: optim.Plateau(sgd, 0.5, 0, 0.5),
}


@pytest.mark.parametrize("every", ["epoch", "iteration"])
@pytest.mark.parametrize("cut", [2, 7])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_run_with_a_schedule_continues_bit_for_bit(tmp_path, kind, cut, every):
    if kind == "plateau" and every == "iteration":
        every = "epoch"

    def run(net, iterations, **options):
        sgd = optim.SGD(net.parameters(), 0.2, momentum=0.5)
        schedule = SCHEDULES[kind](sgd)
        fit(
            net,
            epochs=None,
            optimizer=sgd,
            schedule=schedule,
            schedule_every=every,
            max_iterations=iterations,
            **options,
        )
        return sgd.lr

    whole, parts = network(), network()
    rate = run(whole, 17)
    run(parts, cut, checkpoint=tmp_path / "c.safetensors")
    other = fully_connected([4, 8, 3], seed=9, output="softmax")
    assert run(other, 17, checkpoint=tmp_path / "c.safetensors") == rate
    assert same(whole, other)


def test_what_of_a_schedule_must_agree(tmp_path):
    def run(schedule, every="epoch", **options):
        net = network()
        sgd = optim.SGD(net.parameters(), 0.2)
        options |= {"schedule": schedule(sgd), "schedule_every": every} if schedule else {}
        return fit(net, epochs=2, optimizer=sgd, checkpoint=tmp_path / "c.safetensors", **options)

    run(lambda sgd: optim.CosineDecay(sgd, 8))
    for schedule, every, differs in (
        (lambda sgd: optim.CosineDecay(sgd, 9), "epoch", "schedule.steps was 8 and is 9"),
        (lambda sgd: optim.StepDecay(sgd, 9), "epoch", "schedule was CosineDecay and is StepDecay"),
        (lambda sgd: optim.CosineDecay(sgd, 8), "iteration", "schedule_every was epoch and is iteration"),
        (None, None, "schedule was CosineDecay and is absent"),
    ):
        with pytest.raises(DataError, match=differs):
            run(schedule, every)


def test_a_rate_of_zero_is_read_from_a_checkpoint(tmp_path):
    for epochs in (2, 3):
        net = network()
        sgd = optim.SGD(net.parameters(), 1e-300)
        decay = optim.ExponentialDecay(sgd, 1e-300)
        fit(net, epochs=epochs, optimizer=sgd, schedule=decay, checkpoint=tmp_path / "c.safetensors")
    assert sgd.lr == 0.0


def test_schedules_that_do_not_fit_are_told():
    net = network()
    sgd, other = optim.SGD(net.parameters(), 0.1), optim.SGD(net.parameters(), 0.1)
    for text, options in {
        "one of tinygraph.optim": {"schedule": lambda n: 0.1},
        "another optimiser's": {"schedule": optim.CosineDecay(other, 3)},
        "schedule_every='epoch'": {"schedule": optim.Plateau(sgd), "schedule_every": "iteration"},
        "schedule_every": {"schedule": optim.CosineDecay(sgd, 3), "schedule_every": "batch"},
    }.items():
        with pytest.raises(ArgumentError, match=text):
            fit(net, optimizer=sgd, **options)
    for text, make in {
        "expected an optimiser": lambda: optim.CosineDecay(0.1, 3),
        "same optimiser": lambda: optim.Warmup(sgd, 3, optim.CosineDecay(other, 3)),
        "which Plateau does not": lambda: optim.Warmup(sgd, 3, optim.Plateau(sgd)),
        "Plateau: gamma": lambda: optim.Plateau(sgd, 1.0),
        "step needs the loss": lambda: optim.Plateau(sgd).step(),
        "another schedule's; names that differ: waited": lambda: optim.Plateau(sgd).load_state_dict(
            {"n": 1, "smallest": 1.0, "scale": 1.0}
        ),
        "Plateau: waited must be a whole number": lambda: optim.Plateau(sgd).load_state_dict(
            {"n": 1, "smallest": 1.0, "scale": 1.0, "waited": -1}
        ),
    }.items():
        with pytest.raises(ArgumentError, match=text):
            make()


# -- callbacks ----------------------------------------------------------------------------------------


class Diary(tg.Callback):
    def __init__(self):
        self.lines = []

    def start(self, training):
        self.lines.append(("start", training.history.iterations))

    def batch(self, training):
        self.lines.append(("batch", training.history.iterations, round(training.loss, 3)))

    def epoch(self, training):
        self.lines.append(("epoch", len(training.history), training.optimizer.lr))

    def end(self, training):
        self.lines.append(("end", len(training.history)))


@pytest.mark.parametrize("compiled", [False, True])
def test_callbacks_are_called_in_order(compiled):
    diary, seen = Diary(), []
    history = fit(
        network(),
        epochs=2,
        batch=20,
        callbacks=[diary, lambda t: seen.append(t.history["loss"][-1])],
        compiled=compiled,
    )
    kinds = [line[:2] for line in diary.lines]
    assert kinds == [
        ("start", 0),
        ("batch", 1),
        ("batch", 2),
        ("epoch", 1),
        ("batch", 3),
        ("batch", 4),
        ("epoch", 2),
        ("end", 2),
    ]
    losses_of_batches = [line[2] for line in diary.lines if line[0] == "batch"]
    assert np.mean(losses_of_batches[:2]) == pytest.approx(history.losses[0], abs=1e-3)
    assert seen == history.losses


def test_a_callback_stops_and_a_checkpoint_goes_on(tmp_path):
    class Stop(tg.Callback):
        def batch(self, training):
            if training.history.iterations == 7:
                training.stop("seven are enough")

    whole, net, other = network(), network(), network()
    fit(whole, epochs=3)
    history = fit(net, epochs=3, callbacks=[Stop()], checkpoint=tmp_path / "c.safetensors")
    assert (history.iterations, history.stop_reason, len(history)) == (7, "seven are enough", 2)
    history = fit(other, epochs=3, checkpoint=tmp_path / "c.safetensors")
    assert (history.iterations, history.stop_reason) == (15, "completed 3 epochs")
    assert same(whole, other)


def test_a_function_stops_after_an_epoch():
    history = fit(network(), epochs=9, callbacks=[lambda t: len(t.history) == 2 and t.stop()])
    assert (len(history), history.stop_reason) == (2, "stopped by a callback")


def test_the_end_is_told_when_training_fails():
    diary = Diary()
    with pytest.raises(ZeroDivisionError):
        fit(network(), callbacks=[diary, lambda t: 1 / 0])
    assert diary.lines[-1] == ("end", 1)


def test_callbacks_that_are_none_are_told():
    for callbacks, text in (
        (Diary(), r"write \[callback\]"),
        ([Diary], "functions or tinygraph.Callback"),
        (3, "list"),
    ):
        with pytest.raises(ArgumentError, match=text):
            fit(network(), callbacks=callbacks)
    with pytest.raises(ArgumentError, match="reason must be a text"):
        fit(network(), callbacks=[lambda t: t.stop(3)])


# -- metrics ------------------------------------------------------------------------------------------


def test_metrics_are_of_all_predictions_after_each_epoch(tmp_path):
    net = network()
    seen = []
    history = fit(
        net, validation=V, metrics={"accuracy": tg.metrics.accuracy, "rows": lambda p, t: seen.append((p, t)) or len(p)}
    )
    assert history["validation_accuracy"][-1] == pytest.approx(1 - history["validation_error"][-1])
    assert history["validation_rows"] == [12.0] * 3
    np.testing.assert_allclose(seen[-1][0], net.predict(V[0]).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(seen[-1][1], Y[:12])
    history.save_csv(tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text().splitlines()[0].endswith("seconds,validation_accuracy,validation_rows")


def test_metrics_without_a_validation_set_and_with_a_loss_of_ones_own():
    net = network("sigmoid")
    B = (X[:, :1] > 0).astype(np.float32)
    history = fit(
        net,
        (X, B),
        loss=lambda net, x, y: losses.squared_error(net.predict(x), y),
        metrics={"mean": lambda p, t: p.mean()},
    )
    assert history["mean"][-1] == pytest.approx(net.predict(X).numpy().mean(), rel=1e-5)
    assert history.columns[-1] == "mean"


def test_one_pass_gives_the_validation_loss_and_metrics():
    class Counted(list):
        passes = 0

        def __iter__(self):
            Counted.passes += 1
            return super().__iter__()

    def own(net, x, y):  # what it predicts on its way is for other inputs
        return losses.cross_entropy(net(x + 1), y)

    seen, batches = [], Counted([(X[:8], Y[:8]), (X[8:12], Y[8:12])])
    for loss in (losses.cross_entropy, own):
        net, plain, Counted.passes = network(), network(), 0
        history = fit(net, loss=loss, validation=batches, metrics={"mean": lambda p, t: seen.append((p, t)) or 0})
        assert Counted.passes == 3
        expected = fit(plain, loss=loss, validation=batches)
        for column in ("validation_loss", "validation_error"):
            assert history[column] == expected[column]
        np.testing.assert_array_equal(seen[-1][0], np.concatenate([net.predict(x).numpy() for x, _ in batches]))
        np.testing.assert_array_equal(seen[-1][1], Y[:12])


def test_batches_to_validate_on_are_taken_in_their_order():
    """So that predictions are those of the samples as they stand, and the caller's next epoch is what it was."""
    seen, shuffled = [], data.batches(*V, 5, seed=4)
    net = network()
    history = fit(net, validation=shuffled, metrics={"mean": lambda p, t: seen.append((p, t)) or 0})
    np.testing.assert_array_equal(seen[-1][1], V[1])
    np.testing.assert_allclose(seen[-1][0], net.predict(V[0]).numpy(), rtol=1e-6)
    assert history["validation_loss"][-1] == tg.evaluate(net, losses.cross_entropy, shuffled)[0]
    assert shuffled.epoch == 0


def test_metrics_continue_with_a_checkpoint(tmp_path):
    path = tmp_path / "c.safetensors"
    fit(network(), epochs=2, metrics={"nan": lambda p, t: math.nan}, checkpoint=path)
    assert len(fit(network(), epochs=3, metrics={"nan": lambda p, t: 1.0}, checkpoint=path)["nan"]) == 3
    with pytest.raises(DataError, match="metrics was .*nan.* and is absent"):
        fit(network(), epochs=4, checkpoint=path)


def test_metrics_that_do_not_fit_are_told():
    for metrics, text in (
        ({"loss": np.mean}, "no name for a column"),
        ({"a": 3}, "must be a function"),
        ([np.mean], "must be a dict"),
        ({"a": lambda p, t: p}, "a must return a number"),
    ):
        with pytest.raises(ArgumentError, match=text):
            fit(network(), metrics=metrics)
    with pytest.raises(ArgumentError, match="give a list, not an iterator"):
        fit(network(), iter([(X, L)]), epochs=1, metrics={"a": lambda p, t: 0})


# -- weights ------------------------------------------------------------------------------------------

C = np.array([[0.5, 0.2, 1.0]] * 40, np.float32)
W = rng.uniform(0, 2, 40).astype(np.float32)
BINARY = (rng.random((40, 3)) < 0.5).astype(np.float32)
WEIGHTED = {
    "cross_entropy": (losses.cross_entropy, L),
    "cross_entropy of probabilities": (losses.cross_entropy, Y),
    "squared_error": (losses.squared_error, BINARY),
    "binary_cross_entropy": (losses.binary_cross_entropy, np.where(BINARY == 1, np.nan, BINARY)),
    "multitask_cross_entropy": (losses.multitask_cross_entropy, BINARY),
    "huber": (losses.huber, BINARY),
    "huber_1964": (functools.partial(losses.huber_1964, delta=0.3), BINARY),
    "logistic": (losses.logistic, 2 * BINARY - 1),
    "logistic_with_logits": (losses.logistic_with_logits, 2 * BINARY - 1),
}


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_weighted_loss_is_the_weighted_mean_of_single_samples(kind, dtype):
    loss, target = WEIGHTED[kind]
    z = rng.normal(size=(40, 6 if kind.startswith("multitask") else 3)).astype(dtype)
    target = target.astype(dtype) if target.dtype.kind == "f" else target
    got = loss(tg.tensor(z), target, weights=W.astype(np.float64))
    alone = [float(loss(tg.tensor(z[b : b + 1]), target[b : b + 1])) for b in range(40)]
    assert got.dtype == dtype
    assert float(got) == pytest.approx(np.dot(W, alone) / 40, rel=1e-5)
    compiled = tg.compile(lambda z, y, w: loss(z, y, weights=w))
    assert float(compiled(tg.tensor(z), target, W.astype(dtype))) == pytest.approx(float(got), rel=1e-6)
    with pytest.raises(ShapeError, match="expected 40 weights, one a sample"):
        loss(tg.tensor(z), target, weights=W[:5])


def test_class_weights_are_those_of_pytorch_but_for_the_mean():
    torch = pytest.importorskip("torch")
    z, by_class = rng.normal(size=(40, 3)), np.array([0.2, 1.0, 3.0])
    ours = float(losses.cross_entropy(z, L, class_weights=by_class))
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(z), torch.tensor(L), torch.tensor(by_class), reduction="sum"
    )
    assert ours == pytest.approx(float(theirs) / 40)
    with pytest.raises(ShapeError, match="expected 3 class weights"):
        losses.cross_entropy(z, L, class_weights=[1.0, 2.0])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("as_batches", [False, True])
def test_fit_weighs_samples(compiled, as_batches):
    """A weight of 2 is the sample twice, one of 0 none, at the same length of the mean."""
    counts = np.array([0, 2] * 20, np.float32)
    odd = np.concatenate([np.arange(1, 40, 2)] * 2)
    one, other = network(), network()
    weighted = [(X, Y, counts)] if as_batches else (X, L, counts)
    history = fit(one, weighted, batch=40, compiled=compiled, validation=(X, L, counts))
    plain = fit(other, (X[odd], L[odd]), batch=40, compiled=compiled, validation=(X[odd], L[odd]))
    np.testing.assert_allclose(history.losses, plain.losses, rtol=1e-5)
    np.testing.assert_allclose(history["validation_loss"], plain["validation_loss"], rtol=1e-5)
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("class_weights", [[1.0, 0.0, 2.0], np.array([1.0, 0.0, 2.0])])
def test_class_weights_are_an_option_of_the_loss(class_weights):
    loss = functools.partial(losses.cross_entropy, class_weights=class_weights)
    one, other = network(), network()
    with contextlib.redirect_stderr(io.StringIO()):
        fit(one, loss=loss)
    fit(other, (X, L, np.array([1.0, 0.0, 2.0])[L]))
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_weights_that_do_not_fit_are_told(tmp_path):
    for wrong, text in (
        (W[:5], r"shape \(40,\), got shape \(5,\)"),
        (-W, "at least 0"),
        (W * np.nan, "weights: nan at"),
        (["a"] * 40, "weights"),
    ):
        with pytest.raises(DataError, match=text):
            fit(network(), (X, L, wrong))
    with pytest.raises(ArgumentError, match="make it a losses.Loss that takes weights"):
        fit(network(), (X, L, W), loss=lambda net, x, y: losses.cross_entropy(net(x), y))
    with pytest.raises(ArgumentError, match="give its function a parameter weights"):
        fit(network(), (X, L, W), loss=losses.Loss(lambda z, y: losses.cross_entropy(z, y), "logits"))
    with pytest.raises(ArgumentError, match="give a Y beside them"):
        data.batches(X, weights=W)
    fit(network(), (X, L, W), checkpoint=tmp_path / "c.safetensors")
    with pytest.raises(DataError, match="train_set.fingerprint"):
        fit(network(), (X, L, 2 * W), checkpoint=tmp_path / "c.safetensors")


# -- data ---------------------------------------------------------------------------------------------


def endless(pulled):
    while True:
        for start in range(0, 40, 8):
            pulled.append(start)
            yield X[start : start + 8], L[start : start + 8]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_generator_without_an_end(compiled):
    one, other, pulled = network(), network(), []
    history = fit(one, endless(pulled), epochs=4, steps_per_epoch=3, compiled=compiled)
    assert (history.iterations, len(history), len(pulled)) == (12, 4, 12)
    fit(other, [(X[s : s + 8], L[s : s + 8]) for s in pulled], epochs=1, compiled=compiled)
    assert same(one, other)


@pytest.mark.parametrize("cut", [4, 6])
def test_a_generator_is_resumed_where_it_was(tmp_path, cut):
    whole, net, other = network(), network(), network()
    fit(whole, endless([]), epochs=4, steps_per_epoch=3)
    options = {"steps_per_epoch": 3, "checkpoint": tmp_path / "c.safetensors"}
    fit(net, endless([]), epochs=None, max_iterations=cut, **options)
    fit(other, endless([]), epochs=4, **options)
    assert same(whole, other)
    with pytest.raises(DataError, match="steps_per_epoch was 3 and is 4"):
        fit(other, endless([]), epochs=4, **options | {"steps_per_epoch": 4})


def test_a_list_starts_anew_where_it_ends():
    batches = [(X[:8], L[:8]), (X[8:16], L[8:16])]
    one, other = network(), network()
    fit(one, batches, epochs=2, steps_per_epoch=3)
    fit(other, batches, epochs=3)
    assert same(one, other)


def test_steps_that_do_not_fit_are_told():
    with pytest.raises(ArgumentError, match="max_iterations"):
        fit(network(), steps_per_epoch=3)
    with pytest.raises(ArgumentError, match="steps_per_epoch must be a whole number"):
        fit(network(), [(X, L)], steps_per_epoch=0)
    with pytest.raises(DataError, match="exhausted before the last epoch"):
        fit(network(), iter([(X, L)] * 4), steps_per_epoch=3)
    with pytest.raises(DataError, match="yielded no batch"):
        fit(network(), [], steps_per_epoch=3)


def test_a_share_of_the_training_set_is_held_out():
    one, other = network(), network()
    history = fit(one, validation=0.25, seed=3)
    train, held_out = data.split(X, L, 0.25, seed=3)
    by_hand = fit(other, train, validation=held_out, seed=3)
    assert history["validation_loss"] == by_hand["validation_loss"]
    assert same(one, other)
    assert fit(network(), (X, L, W), validation=10)["validation_loss"][0] is not None
    for wrong in (1.5, 0.0, True, 40, -1):
        with pytest.raises(ArgumentError):
            fit(network(), validation=wrong)
    with pytest.raises(ArgumentError, match="a share is taken of arrays"):
        fit(network(), [(X, L)], validation=0.5)
    with pytest.raises(DataError, match="one row a sample"):
        fit(network(), (X, L[:3]), validation=0.5)


def test_a_data_set_is_taken_as_it_is():
    digits = data.load("digits")
    nets = [fully_connected([64, 8, 10], output="softmax", seed=0) for _ in range(2)]
    one = fit(nets[0], digits, epochs=1, batch=32, validation=digits)
    other = fit(nets[1], digits.train, epochs=1, batch=32, validation=digits.test)
    assert same(*nets)
    assert one["validation_error"] == other["validation_error"]
    assert tg.evaluate(nets[0], losses.cross_entropy, digits) == tg.evaluate(nets[1], losses.cross_entropy, digits.test)


takes_none = losses.Loss(lambda z, y: losses.cross_entropy(z, y), "logits", tg.labels.CLASSES)


def test_batches_to_evaluate_on():
    batches = [(X[:8], L[:8]), (X[8:12], L[8:12])]
    one, other = network(), network()
    assert fit(one, validation=batches)["validation_loss"] == pytest.approx(fit(other, validation=V)["validation_loss"])
    expected = tg.evaluate(one, losses.cross_entropy, V)
    for form in (batches, data.batches(*V, 5)):
        assert tg.evaluate(one, losses.cross_entropy, form) == pytest.approx(expected)
    with pytest.raises(DataError, match="got a generator; batches must be a list"):
        fit(one, validation=(batch for batch in batches))
    seven = [(X[:1], np.array([7]))]
    weighted = (*V, np.ones(12, np.float32))
    for wrong, text in ((seven, "Y of a batch: class 7 in row 0"), ([(X,)], r"every batch must be a pair \(x, y\)")):
        with pytest.raises(DataError, match=f"^fit: {text}"):
            fit(one, wrong)
        with pytest.raises(DataError, match=f"^fit: {text}"):
            fit(one, validation=wrong)
        with pytest.raises(DataError, match=f"^evaluate: {text}"):
            tg.evaluate(one, losses.cross_entropy, wrong)
    for loss, text in (
        (lambda net, x, y: net(x).sum(), "a loss of your own is called with"),
        (takes_none, "takes none"),
    ):
        with pytest.raises(ArgumentError, match=f"^evaluate: weights: .*{text}"):
            tg.evaluate(one, loss, weighted)
        with pytest.raises(ArgumentError, match=f"^fit: weights: .*{text}"):
            fit(one, weighted, loss=loss)


def test_wrong_decisions_of_a_loss_of_ones_own_are_counted():
    def own(net, x, y):
        return losses.cross_entropy(net(x), y)

    def of_prediction(net, x, y):
        return losses.squared_error(net.predict(x, train=True), y)

    def twice(net, x, y):
        return losses.cross_entropy(net(x) + net(-x), y)

    for loss, reference, labels in (
        (own, losses.cross_entropy, L),
        (own, losses.cross_entropy, Y),
        (of_prediction, losses.squared_error, Y),
    ):
        for compiled in (False, True):
            ours = fit(network(), (X, labels), loss=loss, validation=(X, labels), compiled=compiled)
            peer = fit(network(), (X, labels), loss=reference, validation=(X, labels), compiled=compiled)
            assert ours.errors == peer.errors
            assert ours["validation_error"] == peer["validation_error"]
    assert fit(network(), loss=twice).errors == [None] * 3
    grey = rng.random((40, 1)).astype(np.float32)
    for output in ("sigmoid", "tanh"):  # grey values are no decisions
        history = fit(network(output), (X, grey), loss=lambda net, x, y: losses.squared_error(net.predict(x), y))
        assert history.errors == [None] * 3
    assert (
        fit(network("linear"), (X, X[:, :1]), loss=lambda net, x, y: losses.squared_error(net(x), y)).errors
        == [None] * 3
    )


# -- progress -----------------------------------------------------------------------------------------


def test_lines_where_there_is_no_terminal(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    fit(network(), progress=True)
    assert log.getvalue() == ""  # a short run
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    history = fit(network(), progress=True, validation=V)
    lines = log.getvalue().splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", f"{n}/3"] for n in (1, 2, 3)]
    assert f"loss {history.losses[2]:.4f}" in lines[2]
    assert "validation error" in lines[2]


def test_one_line_in_a_notebook(monkeypatch):
    shown = []

    class Handle:
        def update(self, content, raw):
            shown.append(content["text/plain"])

    def display(content, raw, display_id):
        shown.append(content["text/plain"])
        return Handle()

    notebook = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel=1), display=types.SimpleNamespace(display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    fit(network(), progress=True)
    assert [line[:9] for line in shown] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
