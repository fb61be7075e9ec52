"""What a checkpoint holds, which are refused, and that a refused one changes nothing."""

import itertools
import json
import multiprocessing
import os
import stat
from functools import partial

import numpy as np
import pytest
from safetensors.numpy import save_file

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.checkpoint import read_arrays, write_arrays
from tinygraph.errors import ArgumentError, DataError
from tinygraph.files import write_file
from tinygraph.models import fully_connected
from tinygraph.train.run import FACTS

pytestmark = pytest.mark.host
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
L = np.arange(60) % 3
HELD_OUT = X[:12] + 0.1, L[:12]


def run(path, epochs=2, *, net=(), optimizer=optim.SGD, train_set=(X, L), loss=losses.cross_entropy, frozen=(), **more):
    """Train a network made anew; settings of the optimiser begin with ``o_``."""
    network = fully_connected([4, 8, 3], **{"seed": 0, "activation": "tanh", **dict(net)})
    for name in frozen:
        dict(network.named_modules())[name].freeze()
    own = {name[2:]: more.pop(name) for name in list(more) if name.startswith("o_")}
    learned = [p for p in network.parameters() if p.requires_grad]
    rule = optimizer(
        learned, **({"lr": 0.1, "momentum": 0.9} if optimizer is optim.SGD and not own else {"lr": 0.1} | own)
    )
    options = {"batch_size": 7, "seed": 3, "progress": False} | more
    return tg.fit(network, loss, train_set, rule, epochs, checkpoint=path, **options), network, rule


@pytest.fixture
def begun(tmp_path):
    path = tmp_path / "c.safetensors"
    run(path)
    return path


SGD = {"o_momentum": 0.9, "o_lr": 0.1}
OTHER_RUNS = {
    "learning rate": (SGD | {"o_lr": 0.01}, "optimizer.lr was 0.1 and is 0.01"),
    "momentum": (SGD | {"o_momentum": 0.5}, "optimizer.momentum was 0.9 and is 0.5"),
    "nesterov": (SGD | {"o_nesterov": True}, "optimizer.nesterov was False and is True"),
    "optimiser": ({"optimizer": optim.Adam}, "optimizer was SGD and is Adam"),
    "activation": ({"net": {"activation": "relu"}}, "net.layer1 was"),
    "dropout": ({"net": {"dropout": 0.2}}, "Dropout"),
    "output": ({"net": {"output": "sigmoid"}, "loss": losses.cross_entropy}, "softmax"),
    "dtype": ({"net": {"dtype": np.float64}}, "float32"),
    "frozen": ({"frozen": ["layer1"]}, "frozen"),
    "samples": ({"train_set": (X[:-1], L[:-1])}, "train_set.samples was 60 and is 59"),
    "one value": ({"train_set": (X + np.float32(1e-3) * (X[5] == X), L)}, "train_set.fingerprint was"),
    "one label": ({"train_set": (X, np.where(np.arange(60) == 9, 1, L))}, "train_set.fingerprint was"),
    "batch size": ({"batch_size": 8}, "batch_size was 7 and is 8"),
    "seed": ({"seed": 4}, "seed was 3 and is 4"),
    "replacement": ({"replacement": True}, "replacement was False and is True"),
    "l2": ({"l2": 0.1}, "l2 was 0.0 and is 0.1"),
    "l1": ({"l1": 0.1}, "l1 was 0.0 and is 0.1"),
    "loss": ({"loss": losses.squared_error, "train_set": (X, np.eye(3)[L])}, "loss was cross_entropy"),
    "validation": ({"validation": HELD_OUT}, "validation.samples was absent and is 12"),
    "early stopping": ({"validation": HELD_OUT, "early_stopping": 3}, "early_stopping was absent and is 3"),
    "tolerance": ({"stop_tolerance": 1e-3, "stop_every": "epoch"}, "stop_tolerance was None and is 0.001"),
    "batches": ({"train_set": [(X, L)]}, "train_set was absent and is list"),
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_a_checkpoint_of_another_run_is_refused_by_name(begun, name):
    options, text = OTHER_RUNS[name]
    content = begun.read_bytes()
    with pytest.raises(DataError, match="a checkpoint of another run: ") as error:
        run(begun, 4, **options)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert begun.read_bytes() == content


ADAM = {"optimizer": optim.Adam, "o_betas": (0.9, 0.99)}


@pytest.mark.parametrize(
    ("first", "then", "text"),
    [
        (ADAM, {"optimizer": optim.Adam, "o_betas": (0.8, 0.99)}, "optimizer.betas was [0.9, 0.99] and is [0.8, 0.99]"),
        (ADAM, {"optimizer": optim.AdamW, "o_betas": (0.9, 0.99)}, "optimizer was Adam and is AdamW"),
        (ADAM, ADAM | {"o_eps": 1e-6}, "optimizer.eps was 1e-08 and is 1e-06"),
        (ADAM, {"optimizer": optim.RMSProp}, "optimizer was Adam and is RMSProp"),
        (
            {"train_set": data.batches(X, L, batch_size=7, seed=1)},
            {"train_set": data.batches(X, L, batch_size=7, seed=2)},
            "seed was 1 and is 2",
        ),
        (
            {"loss": partial(losses.cross_entropy)},
            {"loss": partial(losses.squared_error), "train_set": (X, np.eye(3)[L])},
            "loss was cross_entropy and is squared_error",
        ),
    ],
)
def test_settings_of_other_optimisers_batches_and_losses(tmp_path, first, then, text):
    run(tmp_path / "c", **first)
    with pytest.raises(DataError) as error:
        run(tmp_path / "c", 3, **then)
    assert text in str(error.value)


def test_attributes_of_ones_own_module_are_compared(tmp_path):
    class Scaled(nn.Module):
        output = "softmax"

        def __init__(self, factor):
            self.inner, self.factor = nn.Dense(4, 3, seed=0), factor

        def forward(self, x):
            return self.factor * self.inner(x)

    def fit(factor, epochs):
        net = Scaled(factor)
        sgd = optim.SGD(net.parameters(), 0.1)
        tg.fit(net, losses.cross_entropy, (X, L), sgd, epochs, checkpoint=tmp_path / "c")

    fit(2.0, 1)
    with pytest.raises(DataError, match=r"net.factor was 2.0 and is 3.0"):
        fit(3.0, 2)
    fit(2.0, 2)


def test_a_change_on_purpose_holds_from_then_on(begun):
    options = SGD | {"o_lr": 0.01}
    history, _, rule = run(begun, 3, **options, allow_changes=["optimizer.lr"])
    assert (len(history), rule.lr) == (3, 0.01)
    assert len(run(begun, 4, **options)[0]) == 4  # the checkpoint is now one of the new rate
    with pytest.raises(ArgumentError, match=r"no setting is called 'optimizer.rate'; did you mean 'optimizer.lr'\?"):
        run(begun, 5, **options, allow_changes=["optimizer.rate"])


@pytest.mark.parametrize("optimizer", [optim.Adam, optim.RMSProp])
def test_a_refused_checkpoint_changes_nothing(begun, optimizer):
    """Neither network, optimiser, random stream nor the file, even where only the optimiser's state does not fit."""
    net = fully_connected([4, 8, 3], activation="tanh", seed=5)
    rule = optimizer(net.parameters(), 0.1)
    before = {name: t.numpy() for name, t in net.state_dict().items()}, rule.state_dict()
    names = {"optimizer": type(rule), **vars(rule)} | dict.fromkeys(("momentum", "nesterov"))
    settings = [n for n in names if n not in ("params", "groups") and not n.startswith("_")]
    changes = [n if n == "optimizer" else f"optimizer.{n}" for n in settings]
    with pytest.raises(DataError, match="holds other names than the optimiser"):
        tg.fit(net, losses.cross_entropy, (X, L), rule, 4, 7, seed=3, checkpoint=begun, allow_changes=changes)
    after = {name: t.numpy() for name, t in net.state_dict().items()}, rule.state_dict()
    for one, other in zip(before, after, strict=True):
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name])


def damaged_facts():
    wrong = {"list": [], "text": "x", "null": None, "number": -1, "object": {}, "true": True, "nested": [[]]}
    for name, (kind, value) in itertools.product(FACTS, wrong.items()):
        if name in ("settings", "best", "seconds") or (name, kind) in {("stop_reason", "text"), ("schedule", "object")}:
            continue
        if kind == "list" and name in ("rows", "risks", "tally"):
            continue
        yield pytest.param(name, value, id=f"{name}-{kind}")


@pytest.mark.parametrize(("name", "value"), list(damaged_facts()))
def test_facts_of_a_wrong_type_are_told(begun, name, value):
    arrays, facts = read_arrays(begun)
    for changed in (facts | {name: value}, {k: v for k, v in facts.items() if k != name}):
        write_arrays(begun, arrays, changed)
        with pytest.raises(DataError, match=f"c.safetensors: damaged: {name} "):
            run(begun, 4)


def test_other_formats_and_other_files_are_told(begun):
    arrays, facts = read_arrays(begun)
    for changed, text in (
        ({k: v for k, v in facts.items() if k != "format"}, "format unknown, expected 4"),
        (facts | {"format": 2}, "format 2, expected 4"),
        ({}, "weights only, which tg.load reads"),
    ):
        write_arrays(begun, arrays, changed)
        with pytest.raises(DataError, match=text):
            run(begun, 4)
    for text in ("[]", "[" * 10**5, "3", "null"):
        save_file(arrays, begun, {"tinygraph": text})
        with pytest.raises(DataError, match=r"c.safetensors: "):
            run(begun, 4)


def test_arrays_that_do_not_fit_are_told(begun):
    arrays, facts = read_arrays(begun)
    first = "net.layer1.W"
    for changed, text in (
        ({k: v for k, v in arrays.items() if k != first}, "other names than the network: layer1.W"),
        (arrays | {first: arrays[first].T.copy()}, r"layer1.W of the network: expected float32 \(4, 8\)"),
        (arrays | {first: arrays[first].astype(float)}, "expected float32"),
        (arrays | {"optimizer.velocity.9": np.zeros(3)}, "other names than the optimiser: velocity.9"),
        (arrays | {"optimizer.velocity.0": np.float32([1])}, r"velocity.0 of the optimiser: expected float32 \(4, 8\)"),
        ({k: v for k, v in arrays.items() if k != "random.key"}, "random.key is not the key"),
        (arrays | {"random.key": np.zeros(2)}, "random.key is not the key"),
        (arrays | {first: arrays[first] * np.float32(np.nan)}, "layer1.W has 32 of 32 elements that are NaN"),
    ):
        write_arrays(begun, changed, facts)
        with pytest.raises(DataError, match=text):
            run(begun, 4)


def test_a_flipped_bit_anywhere_is_told(begun):
    content = begun.read_bytes()
    rng = np.random.default_rng(1)
    expected = run(begun, 2)[1].layer1.W.numpy()
    for place in rng.integers(8, len(content), 200):  # the first eight bytes are the length of the header
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        begun.write_bytes(changed)
        try:
            found = run(begun, 2)[1].layer1.W.numpy()
        except DataError:
            continue
        np.testing.assert_array_equal(found, expected)  # a bit of the white space in the header


def test_a_loader_of_ones_own_is_told_the_epoch(tmp_path):
    class Loader:
        epoch = 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __iter__(self):
            order = np.random.default_rng(self.epoch).permutation(60)
            yield from ((X[rows], L[rows]) for rows in order.reshape(6, 10))

    whole = run(None, 4, train_set=Loader())[1]
    run(tmp_path / "c", 2, train_set=Loader())
    parts = run(tmp_path / "c", 4, train_set=Loader())[1]
    np.testing.assert_array_equal(whole.layer1.W.numpy(), parts.layer1.W.numpy())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = fully_connected([4, 3], seed=0)
    net.layer1.W.assign_(np.where(np.eye(4, 3) > 0, np.float32(np.inf), np.float32(1)))
    tg.save(tmp_path / "w", net)
    other = fully_connected([4, 3], seed=1)
    before = other.layer1.W.numpy()
    with pytest.raises(DataError, match=r"layer1.W has 3 of 12 elements that are NaN or infinite"):
        tg.load(tmp_path / "w", other)
    np.testing.assert_array_equal(other.layer1.W.numpy(), before)
    tg.load(tmp_path / "w", other, check_finite=False)
    np.testing.assert_array_equal(other.layer1.W.numpy(), net.layer1.W.numpy())


def test_arguments_in_the_other_order(tmp_path):
    net = fully_connected([4, 3])
    for function in (tg.save, tg.load):
        with pytest.raises(ArgumentError, match=rf"the path comes first: tg.{function.__name__}\(path, net\)"):
            function(net, tmp_path / "w")
        with pytest.raises(ArgumentError, match="expected a Module, got a dict"):
            function(tmp_path / "w", {})
        with pytest.raises(ArgumentError, match="expected a path, got a int"):
            function(3, net)


def safetensors_file(path, **arrays):
    """Write arrays of dtypes that NumPy does not have: dtype, shape and bytes of each."""
    header, content = {}, b""
    for name, (dtype, shape, raw) in arrays.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(content), len(content) + len(raw)]}
        content += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def test_bfloat16_is_taken_as_float32_and_float8_is_named(tmp_path):
    net, values = nn.Dense(2, 2, seed=0), np.float32([[1, -2], [0.15625, 3e38]])
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    zeros = ("F32", [2], bytes(8))
    safetensors_file(tmp_path / "w", W=("BF16", [2, 2], upper.tobytes()), theta=zeros)
    tg.load(tmp_path / "w", net)
    np.testing.assert_array_equal(net.W.numpy(), (upper.astype(np.uint32) << 16).view(np.float32))
    np.testing.assert_allclose(net.W.numpy(), values, rtol=2**-7)
    for dtype in ("F8_E4M3", "F8_E5M2"):
        safetensors_file(tmp_path / "w", W=(dtype, [2, 2], bytes(4)), theta=zeros)
        with pytest.raises(DataError, match=f"W is stored as {dtype}, which NumPy does not have"):
            tg.load(tmp_path / "w", net)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions stop")
def test_a_file_without_permission_is_not_said_to_be_missing(tmp_path):
    tg.save(tmp_path / "w", fully_connected([4, 3]))
    (tmp_path / "w").chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        tg.load(tmp_path / "w", fully_connected([4, 3]))


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        tg.load(tmp_path, fully_connected([4, 3]))
    with pytest.raises(DataError, match="there is no such file"):
        tg.load(tmp_path / "w", fully_connected([4, 3]))


# -- writing files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_files_have_the_permissions_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_file(tmp_path / "f", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_nothing_stays_of_a_write_that_is_stopped(tmp_path, monkeypatch, error):
    (tmp_path / "f").write_bytes(b"old")

    def stop(*arguments):
        raise error

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(DataError if error is OSError else error):
        write_file(tmp_path / "f", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("f", b"old")]


def killed_in_a_write(path):
    os.replace = lambda *arguments: os._exit(9)
    write_file(path, b"half")


def test_leftovers_of_killed_processes_are_removed_and_others_stay(tmp_path):
    path = tmp_path / "f"
    for _ in range(2):
        process = multiprocessing.get_context("fork").Process(target=killed_in_a_write, args=(path,))
        process.start()
        process.join()
        assert process.exitcode == 9
    others = [tmp_path / ".g.12345678.part", tmp_path / ".f", tmp_path / ".f.txt"]
    for other in others:
        other.write_bytes(b"not ours")
    write_file(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert {p.name for p in tmp_path.iterdir()} == {"f", *(other.name for other in others)}


def write_often(path, letter):
    for _ in range(100):
        write_file(path, letter * 1000)


def test_processes_that_write_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "f"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=(path, letter)) for letter in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert path.read_bytes() in (b"a" * 1000, b"b" * 1000, b"c" * 1000)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_and_its_folder_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed, real = [], os.fsync

    def note(handle):
        flushed.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_file(tmp_path / "f", b"x")
    assert flushed == [False, True]
