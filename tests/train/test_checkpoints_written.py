"""When checkpoints are written, which are kept, and that a run goes on from any of them bit for bit."""

import os
import shutil
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim
from tinygraph.checkpoint import read_arrays, write_arrays
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import fully_connected
from tinygraph.train.checkpoints import Interval, interval

pytestmark = pytest.mark.host
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
L = np.arange(60) % 3
PER_EPOCH = 9  # updates


class Killed(BaseException):
    pass


class At(tg.Callback):
    """Does something after an update, before its checkpoint would be written."""

    def __init__(self, iteration, action):
        self.iteration, self.action = iteration, action

    def batch(self, training):
        if training.history.iterations == self.iteration:
            self.action()


def killed_at(iteration):
    def kill():
        raise Killed

    return At(iteration, kill)


def run(path=None, epochs=3, *, optimizer="momentum", **options):
    """Train with all that a checkpoint has to hold; return the network, the optimiser and the history."""
    tg.manual_seed(5)
    net = fully_connected([4, 8, 3], seed=0, batch_norm=True, dropout=0.3)
    rule = {
        "sgd": lambda p: optim.SGD(p, 0.1),
        "momentum": lambda p: optim.SGD(p, 0.1, 0.9),
        "adam": lambda p: optim.Adam(p, 0.01),
        "rmsprop": lambda p: optim.RMSProp(p, 0.01),
    }[optimizer](net.parameters())
    decay = optim.CosineDecay(rule, 40)
    options = {"schedule": decay, "schedule_every": "iteration", "validation": (X[:12] + 0.1, L[:12])} | options
    options = {"early_stopping": True, "batch_size": 7, "seed": 3, "progress": False, "compiled": False} | options
    history = tg.fit(net, losses.cross_entropy, (X, L), rule, epochs, checkpoint=path, **options)
    return net, rule, history


def assert_same(one, other):
    """The same bits in network and optimiser, the same numbers in the histories."""
    for a, b in zip(one[:2], other[:2], strict=True):
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            np.testing.assert_array_equal(*(t.numpy() if isinstance(t, tg.Tensor) else t for t in (x, y)), err_msg=name)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in each[2].rows] for each in (one, other)]
    assert rows[0] == rows[1]
    assert one[2].best_epoch == other[2].best_epoch


def place(path):
    """Return what a checkpoint says of its place: updates, and batches of the epoch under way."""
    _, facts = read_arrays(path)
    return facts["iterations"], facts["done"]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("iteration", [1, 5, 8, 9, 10, 18, 20, 27])
def test_a_run_goes_on_from_the_middle_of_an_epoch(tmp_path, optimizer, iteration):
    path = tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        run(path, optimizer=optimizer, checkpoint_every=1, callbacks=[killed_at(iteration)])
    if iteration > 1:
        assert place(path) == (iteration - 1, (iteration - 2) % PER_EPOCH + 1), "all but the last update"
    assert_same(run(path, optimizer=optimizer), run(optimizer=optimizer))


def test_compiled_steps_go_on_as_well(tmp_path):
    path = tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        run(path, checkpoint_every=4, callbacks=[killed_at(15)], compiled=True)
    assert place(path) == (12, 3)
    assert_same(run(path, compiled=True), run(compiled=True))


def test_every_so_many_updates_and_at_the_end(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(tg.train.run.Run, "save", lambda run, path: written.append((run.history.iterations, run.done)))
    run(tmp_path / "c", checkpoint_every=7)
    assert written == [(7, 7), (14, 5), (21, 3), (27, 0)]
    written.clear()
    run(tmp_path / "c", checkpoint_every=1000)
    assert written == [(27, 0)]
    written.clear()
    run(tmp_path / "c", epochs=5, checkpoint_every="2 epochs")
    assert written == [(18, 0), (36, 0), (45, 0)]
    written.clear()
    run(tmp_path / "c", checkpoint_every=1000, max_iterations=11)
    assert written == [(11, 2)]


def test_every_so_many_seconds(tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(tg.train.run.Run, "save", lambda run, path: written.append(run.history.iterations))

    class Clock(tg.Callback):
        def batch(self, training):
            now[0] += 1.0

    run(tmp_path / "c", checkpoint_every="5s", callbacks=[Clock()])
    assert written == [5, 10, 15, 20, 25, 27]


@pytest.mark.parametrize(
    ("every", "meant"),
    [
        ("epoch", Interval(epochs=1)),
        ("10 epochs", Interval(epochs=10)),
        (500, Interval(updates=500)),
        (np.int64(500), Interval(updates=500)),
        ("500", Interval(updates=500)),
        ("30s", Interval(seconds=30)),
        ("0.5 min", Interval(seconds=30)),
        ("2h", Interval(seconds=7200)),
    ],
)
def test_what_an_interval_may_be(every, meant):
    assert interval(every) == meant


@pytest.mark.parametrize("every", [0, -1, 2.5, True, None, "", "0s", "0 epochs", "1.5 epochs", "day", "3 d", "-3s", []])
def test_what_an_interval_may_not_be(tmp_path, every):
    with pytest.raises(ArgumentError, match=r"fit: checkpoint_every must be a number of updates .* got") as error:
        run(tmp_path / "c", checkpoint_every=every)
    assert "\n" not in str(error.value)


def test_options_of_checkpoints_need_a_path(tmp_path):
    for options in ({"checkpoint_every": 3}, {"checkpoint_keep": 2}):
        with pytest.raises(ArgumentError, match="give checkpoint, a path, too"):
            run(**options)
    with pytest.raises(ArgumentError, match="checkpoint_keep must be a whole number of at least 1"):
        run(tmp_path / "c", checkpoint_keep=0)


def test_the_last_are_kept_and_each_can_be_gone_back_to(tmp_path):
    path = tmp_path / "c.v2.safetensors"
    bystanders = [
        "c.safetensors",
        "c.v2.iteration-x.safetensors",
        "c.v2-3.safetensors",
        "xc.v2.iteration-3.safetensors",
    ]
    for name in bystanders:
        (tmp_path / name).write_bytes(b"not ours")
    whole = run(path, checkpoint_every=5, checkpoint_keep=3)
    kept = {p.name: place(p) for p in tmp_path.iterdir() if p.name not in bystanders}
    assert kept == {
        path.name: (27, 0),
        "c.v2.iteration-25.safetensors": (25, 7),
        "c.v2.iteration-20.safetensors": (20, 2),
    }
    for name in kept:
        other = tmp_path / "other.safetensors"
        shutil.copy(tmp_path / name, other)
        assert_same(run(other), whole)


def test_a_place_is_kept_once(tmp_path):
    """Though it is written after the last update of an epoch, and after the epoch."""
    run(tmp_path / "c", checkpoint_every=9, checkpoint_keep=5)
    assert {p.name for p in tmp_path.iterdir()} == {"c", "c.iteration-18", "c.iteration-9"}


def test_those_of_an_earlier_run_are_the_first_to_go(tmp_path):
    """By the time when they were written, whatever their numbers are."""
    old = tmp_path / "c.iteration-900"
    old.write_bytes(b"of an earlier run")
    os.utime(old, (1, 1))
    same = tmp_path / "c.iteration-9"
    same.write_bytes(b"of an earlier run")
    run(tmp_path / "c", checkpoint_keep=2)
    assert {p.name: place(p) for p in tmp_path.iterdir()} == {"c": (27, 0), "c.iteration-18": (18, 0)}


def test_without_links_copies_are_kept(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    run(tmp_path / "c", checkpoint_keep=2)
    assert {p.name: place(p) for p in tmp_path.iterdir()} == {"c": (27, 0), "c.iteration-18": (18, 0)}


def test_a_continued_run_keeps_what_it_began_from(tmp_path):
    path = tmp_path / "c"
    run(path, epochs=1)
    run(path, epochs=2, checkpoint_keep=2)
    assert {p.name: place(p) for p in tmp_path.iterdir()} == {"c": (18, 0), "c.iteration-9": (9, 0)}
    run(path, epochs=3)  # which keeps one, and leaves what others have kept
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "c.iteration-9"]


def test_what_callbacks_change_is_in_the_checkpoint(tmp_path):
    def slower(training):
        training.optimizer.lr *= 0.5

    class AfterUpdates(tg.Callback):
        def batch(self, training):
            training.optimizer.lr *= 0.99

    options = {"callbacks": [slower, AfterUpdates()], "schedule": None, "schedule_every": "epoch"}
    whole = run(**options)
    run(tmp_path / "c", **options | {"epochs": 1})
    assert_same(run(tmp_path / "c", **options), whole)
    run(tmp_path / "d", **options, max_iterations=13)
    assert_same(run(tmp_path / "d", **options), whole)


def test_an_epoch_is_not_lost_to_an_error_of_a_callback(tmp_path):
    def fail(training):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "c", callbacks=[fail])
    assert place(tmp_path / "c") == (9, 0)
    assert_same(run(tmp_path / "c"), run())


@pytest.mark.parametrize("every", ["epoch", 1])
def test_what_diverged_does_not_replace_a_checkpoint(tmp_path, every):
    path = tmp_path / "c"
    run(path, epochs=1)
    content = path.read_bytes()

    class Spoil(tg.Callback):
        def batch(self, training):
            training.net.layer1.W.assign_(np.full((4, 8), np.inf, np.float32))

    with pytest.raises(DataError, match=r"fit: (net.layer1.W has 32 of 32 elements that are NaN|the loss became)"):
        run(path, callbacks=[Spoil()], checkpoint_every=every)
    assert path.read_bytes() == content


def test_the_time_of_an_epoch_that_was_cut_short_counts(tmp_path):
    path = tmp_path / "c"
    run(path, max_iterations=3)
    arrays, facts = read_arrays(path)
    assert 0 < facts["seconds"] < 60
    write_arrays(path, arrays, facts | {"seconds": 1000.0})
    assert 1000 < run(path)[2].times[0] < 1060
    for wrong in (-1.0, float("inf"), "x"):
        write_arrays(path, arrays, facts | {"seconds": wrong})
        with pytest.raises(DataError, match="damaged: seconds"):
            run(path)
    write_arrays(path, arrays, {k: v for k, v in facts.items() if k != "seconds"})  # as 0.1.0 wrote them
    assert 0 < run(path)[2].times[0] < 60
