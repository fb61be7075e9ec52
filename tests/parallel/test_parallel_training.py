"""Training on several processes is that on one: to rounding, and from run to run to the bit."""

import json
import sys
import time
import warnings

import numpy as np
import pytest
from mpi import ended, on, started
from mpi_programs import ITERATIONS, KINDS, network, samples

import tinygraph as tg
from tinygraph.errors import ArgumentError

pytestmark = pytest.mark.host


def output(processes, function, *arguments):
    """Return what a program printed, which ended well."""
    status, out, err = on(processes, function, *arguments)
    assert (status, err) == (0, ""), err
    return out


@pytest.mark.parametrize(
    ("processes", "batch_size", "way"), [(2, 13, "compiled"), (3, 25, "compiled"), (3, 13, "eager")]
)
def test_a_hundred_updates_are_those_of_one_process(processes, batch_size, way):
    lines = output(processes, "differences", batch_size, way).splitlines()
    assert [json.loads(line)[0] for line in lines] == list(KINDS)
    for kind, found in map(json.loads, lines):
        for parameters, rows, iterations, best, best_alone in found:
            assert parameters < 1e-10, kind
            assert rows < 1e-10, kind
            assert best == best_alone
            assert iterations == ITERATIONS


def test_the_same_bits_from_run_to_run():
    assert output(3, "digest", "batch-norm", 13) == output(3, "digest", "batch-norm", 13)


@pytest.mark.parametrize("parts", [2, 3])
def test_batches_of_ones_own_and_one_with_fewer_rows_than_processes(parts):
    assert float(output(3, "own_batches", parts)) < 1e-12


def test_shards_are_read_by_own_rows(tmp_path):
    assert float(output(2, "shards", tmp_path / "shards")) < 1e-12


def test_networks_drawn_without_a_seed_start_alike():
    assert output(2, "unseeded").split() == ["True"]


def test_a_checkpoint_goes_on_to_the_bit_and_with_any_number_of_processes(tmp_path):
    whole = json.loads(output(2, "continued", tmp_path / "whole.safetensors", 60))
    output(2, "continued", tmp_path / "a.safetensors", 25)
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes())
    assert json.loads(output(2, "continued", tmp_path / "a.safetensors", 60))[0] == whole[0]
    alone = json.loads(output(1, "continued", tmp_path / "b.safetensors", 60))
    np.testing.assert_allclose(alone[1], whole[1], rtol=1e-10)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("few rows", "process 0 of 2: ArgumentError: fit: 2 processes share a mini-batch of 1: use larger"),
        ("data", "fit: process 1 differs from process 0: train_set.fingerprint is"),
        ("settings", "fit: process 1 differs from process 0: l2 is 0.1 there and 0.0 here"),
        ("rate", "fit: the loss became"),
        ("callback", "process 1 of 2: ZeroDivisionError: division by zero"),
        ("drawn", "fit: after epoch 1 the parameters of process 1 are not those of process 0"),
        ("limits", "fit: process 1 differs from process 0: epochs is 2 there and 3 here"),
        ("exit", "process 0 of 2: process 1 has ended (SystemExit: 0), and this one waits for it"),
        ("caught", "process 0 of 2: process 1 has ended (ZeroDivisionError: division by zero), and this one waits"),
        ("absent", "process 0 of 2: process 1 has ended, and this one waits for it; all must train equally long"),
        ("batches", "fit: in epoch 1 process 1 was given other batches than process 0"),
        ("gradients", "has a gradient in process 1 or in process 0, and not in the other"),
        ("function", "batch_norm: processes share the batch"),
        ("parts", "fit: parallel: the network's nodes are shared out, so its samples cannot be"),
        ("part of a checkpoint", "fit: checkpoint: each process has a part of the network"),
        ("backend", "on the numpy backend only, and the network is on 'strict'"),
    ],
)
def test_every_process_ends_with_a_line_that_says_why(what, told):
    began = time.monotonic()
    status, _, err = on(2, "wrong", what)
    assert status != 0
    assert sum(told in line for line in err.splitlines()) == 1
    assert time.monotonic() - began < 60  # most of it to start them


def test_a_process_that_is_killed_ends_all_and_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    status, out, err = on(2, "wrong", "killed", path)
    assert status != 0
    assert "illed" in out + err
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    net, (X, Y) = network("sgd"), samples()
    sgd = tg.optim.SGD(net.parameters(), 0.1)
    history = tg.fit(net, tg.losses.cross_entropy, (X, Y), sgd, 5, 13, checkpoint=path, progress=False)
    assert len(history) == 5  # of which the first were trained before
    assert history.iterations == 50


def test_a_callback_of_one_process_stops_all_after_the_same_update():
    assert output(3, "stopped").split() == ["5", "enough"]


def test_the_command_line_trains_on_processes(tmp_path):
    command = [sys.executable, "-m", "tinygraph.tools.cli", "train", "--epochs", "2", "--seed", "1"]
    status, out, err = ended(started(2, *command, "--parallel", "mpi", "--out", tmp_path / "two"))
    assert (status, err) == (0, "")
    assert out.count("2 epochs in") == 1
    status, out, err = ended(started(1, *command, "--out", tmp_path / "one"))
    assert (status, err) == (0, "")
    two, one = (json.loads((tmp_path / name / "run.json").read_text())["results"] for name in ("two", "one"))
    assert two["test_error"] == one["test_error"]
    status, out, err = ended(started(2, *command, "--parallel", "mpi", "--out", tmp_path / "two"))
    assert status == 2
    assert err.count("already holds a run") == 1


def test_without_mpiexec_there_is_one_process_which_is_said_once(monkeypatch):
    pytest.importorskip("mpi4py")
    net = tg.models.fully_connected([4, 2], seed=0)
    data = np.ones((6, 4), np.float32), np.zeros(6, int)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            tg.fit(
                net,
                tg.losses.cross_entropy,
                data,
                tg.optim.SGD(net.parameters(), 0.1),
                1,
                parallel="mpi",
                progress=False,
            )
    assert [str(w.message)[:33] for w in caught] == ["parallel='mpi': there is one proc"]


def test_another_engine_is_refused():
    net = tg.models.fully_connected([4, 2], seed=0)
    with pytest.raises(ArgumentError, match="parallel 'nccl' is not known; known: mpi"):
        tg.fit(
            net,
            tg.losses.cross_entropy,
            (np.ones((6, 4)), np.zeros(6, int)),
            tg.optim.SGD(net.parameters(), 0.1),
            parallel="nccl",
        )
