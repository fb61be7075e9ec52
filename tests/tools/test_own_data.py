"""Data of one's own in the command line: what is trained, kept, answered and refused."""

import csv
import io
import json
import re
import resource
import signal
import sys
import warnings

import numpy as np
import pytest
from commands import train
from PIL import Image

import tinygraph as tg
from tinygraph import data
from tinygraph.tools.signals import StopAfterUpdate

pytestmark = pytest.mark.host

MIXED = "area,kind\n1,ä\n".encode() + "2,ä\n".encode("latin-1")
FEW = ("--epochs", 3, "--hidden", "8")


def houses(rng, n=120):
    """Rows of area, town, price and kind; the kind is told by the area alone."""
    area, town = rng.uniform(20, 150, n), rng.choice(["Bonn", "Köln, Süd", "Ulm"], n)
    price = area * 3000 * (1 + 0.5 * (town == "Ulm")) + 1e6
    kind = np.where(area < 60, "small", np.where(area > 110, 'large "really"', "mid"))
    return [[f"{a:.1f}", t, f"{p:.0f}", k] for a, t, p, k in zip(area, town, price, kind, strict=True)]


def write_rows(path, rows, names=("area", "town", "price", "kind")):
    with open(path, "w", newline="") as file:
        delimiter = "\t" if str(path).endswith("tsv") else ","
        csv.writer(file, delimiter=delimiter).writerows([names, *rows] if names else rows)


def answers(tinygraph, *arguments):
    status, out, err = tinygraph("predict", *arguments)
    assert (status, err) == (0, "")
    return list(csv.DictReader(io.StringIO(out)))


def refused(tinygraph, *arguments):
    status, out, err = tinygraph(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    return err


# classes and numbers ---------------------------------------------------------------------------


def test_classes_in_their_own_words(tinygraph, rng):
    rows = houses(rng)
    write_rows("houses.csv", rows)
    said, results = train(tinygraph, "--data", "houses.csv", "--target", "kind", "--ignore", "price", "--epochs", 40)
    assert "on houses.csv: 96 samples, kind: 3 classes, 4 inputs" in said[0]
    assert said[-1] == f"test error {100 * results['test_error']:.1f} %"
    assert results["test_error"] < 0.15 < results["baseline_error"]
    write_rows("new.csv", [[kind, town, area] for area, town, _, kind in rows[:40]], ("kind", "town", "area"))
    with_target = answers(tinygraph, "r", "new.csv")
    assert [row["row"] for row in with_target] == [str(i) for i in range(40)]
    right = [a["kind"] == kind for a, (*_, kind) in zip(with_target, rows[:40], strict=True)]
    assert sum(right) >= 34
    assert {a["kind"] for a in with_target} == {"small", "mid", 'large "really"'}
    write_rows("bare.tsv", [[town, area] for area, town, *_ in rows[:40]], ("town", "area"))
    assert answers(tinygraph, "r", "bare.tsv") == with_target


def test_the_answers_are_those_of_the_steps_done_by_hand(tinygraph, rng):
    """The whole way with NumPy: words, a seeded split, scaling by the training set, the layers, the softmax."""
    rows = houses(rng)
    write_rows("houses.csv", rows)
    train(tinygraph, "--data", "houses.csv", "--target", "price", "--ignore", "kind", *FEW)
    towns = ["Bonn", "Köln, Süd", "Ulm"]
    X = np.array([[float(a), *(float(t == town) for town in towns)] for a, t, *_ in rows])
    Y = np.array([float(price) for *_, price, _ in rows])
    (X_train, Y_train), (_, Y_test) = data.split(X, Y, 0.2, seed=0)
    area, trained = X[:, 0], X_train[:, 0]
    scaled = np.column_stack([(area - trained.mean()) / trained.std(ddof=1), X[:, 1:]])
    w = {name: t.numpy() for name, t in tg.load_run("r").net.state_dict().items()}
    hidden = np.maximum(scaled @ w["layer1.W"] - w["layer1.theta"], 0)
    expected = (hidden @ w["layer2.W"] - w["layer2.theta"])[:, 0] * Y_train.std(ddof=1) + Y_train.mean()
    found = [float(a["price"]) for a in answers(tinygraph, "r", "houses.csv")]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    results = tg.load_run("r").results
    held_out = data.split(np.arange(len(Y)), Y, 0.2, seed=0)[1][0]
    np.testing.assert_allclose(results["test_rmse"], np.sqrt(np.square(expected[held_out] - Y_test).mean()), rtol=1e-4)
    np.testing.assert_allclose(results["baseline_rmse"], np.sqrt(np.square(Y_train.mean() - Y_test).mean()), rtol=1e-5)


@pytest.mark.parametrize("target", ["kind", "area"])
def test_another_backend_gives_the_same_answers(tinygraph, rng, target):
    write_rows("houses.csv", houses(rng))
    for backend in ("numpy", "strict"):
        train(tinygraph, "--data", "houses.csv", "--target", target, *FEW, "--backend", backend, out=backend)
    assert answers(tinygraph, "strict", "houses.csv") == answers(tinygraph, "numpy", "houses.csv")


def test_a_file_without_names(tinygraph, rng):
    write_rows("houses.csv", houses(rng), None)
    train(tinygraph, "--data", "houses.csv", "--target", "4", "--ignore", "3", *FEW)
    whole = answers(tinygraph, "r", "houses.csv")
    assert list(whole[0]) == ["row", "4", "probability"]
    write_rows("bare.csv", [row[:2] for row in houses(np.random.default_rng(65))], None)
    assert answers(tinygraph, "r", "bare.csv") == whole


def test_rows_from_standard_input(tinygraph, rng, monkeypatch):
    write_rows("houses.csv", houses(rng))
    train(tinygraph, "--data", "houses.csv", "--target", "kind", *FEW)
    with open("houses.csv", "rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": io.BytesIO(file.read())}))
    piped = answers(tinygraph, "r", "-")
    assert piped == answers(tinygraph, "r", "houses.csv")


def test_numbers_that_are_words_and_numbers_that_are_classes(tinygraph, rng):
    codes = rng.integers(0, 3, 90)
    write_rows("codes.csv", [[f"{10 * c + 7}", f"{2 - c}"] for c in codes], ("code", "y"))
    said, _ = train(tinygraph, "--data", "codes.csv", "--target", "y", "--words", "code", "--epochs", 30)
    assert "y: 3 classes, 3 inputs" in said[0]
    write_rows("new.csv", [["7"], ["27"], ["17"]], ("code",))
    assert [a["y"] for a in answers(tinygraph, "r", "new.csv")] == ["2", "0", "1"]
    said, _ = train(tinygraph, "--data", "codes.csv", "--target", "y", "--task", "numbers", *FEW, out="n")
    assert "y: numbers, 1 inputs" in said[0]


def test_arrays(tinygraph, rng):
    X = rng.normal(size=(80, 3, 2))
    np.savez("a.npz", X=X, y=np.where(X[:, 0, 0] > 0, "up", "down"))
    train(tinygraph, "--data", "a.npz", *FEW)
    np.savez("new.npz", X=X[:5])
    np.save("new.npy", X[:5])
    by_archive, by_array = (answers(tinygraph, "r", f"new.{kind}") for kind in ("npz", "npy"))
    assert by_archive == by_array
    assert {a["y"] for a in by_array} <= {"up", "down"}


def test_parquet(tinygraph, rng):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = houses(rng)
    columns = {n: [row[k] for row in rows] for k, n in enumerate(("area", "town", "price", "kind"))}
    columns["area"] = [float(a) for a in columns["area"]]
    parquet.write_table(pyarrow.table(columns), "houses.parquet")
    train(tinygraph, "--data", "houses.parquet", "--target", "kind", "--ignore", "price", *FEW)
    write_rows("houses.csv", rows)
    assert answers(tinygraph, "r", "houses.parquet") == answers(tinygraph, "r", "houses.csv")


def write_images(folder, rng, size=(6, 5), n=12, colours=()):
    for name, low in (("dark", 0), ("light", 150)):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            pixels = rng.integers(low, low + 100, (*size, *colours), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")


@pytest.mark.parametrize("colours", [(), (3,)])
def test_a_folder_of_images(tinygraph, tmp_path, rng, colours):
    write_images(tmp_path / "lamps", rng, colours=colours)
    said, results = train(tinygraph, "--data", "lamps", "--epochs", 20, "--hidden", "8")
    assert f"class: 2 classes, {6 * 5 * (3 if colours else 1)} inputs" in said[0]
    assert results["test_error"] == 0
    assert answers(tinygraph, "r", "lamps/dark/3.png")[0]["class"] == "dark"
    Image.fromarray(np.full((6, 5), 200, np.uint8)).save("grey.png")
    assert answers(tinygraph, "r", "grey.png")[0]["class"] == "light"
    Image.fromarray(np.zeros((7, 5), np.uint8)).save("other.png")
    assert re.search(
        "other.png: column 'image': expected numbers of shape", refused(tinygraph, "predict", "r", "other.png")
    )
    if colours:
        return
    Image.fromarray(np.zeros((7, 5), np.uint8)).save("lamps/dark/99.png")
    assert "99.png: an image of 5 x 7 pixels, but" in refused(tinygraph, "train", "--data", "lamps")


def test_an_image_for_a_run_with_a_data_set(tinygraph):
    train(tinygraph, "--epochs", 3)
    X = data.load("digits").test[0][:1]
    np.save("x.npy", X)
    Image.fromarray((X.reshape(8, 8) * 255).round().astype(np.uint8)).save("x.png")
    as_image, as_array = answers(tinygraph, "r", "x.png")[0], answers(tinygraph, "r", "x.npy")[0]
    assert as_image["class"] == as_array["class"]
    assert float(as_image["probability"]) == pytest.approx(float(as_array["probability"]), abs=0.01)
    Image.fromarray(np.zeros((28, 28), np.uint8)).save("y.png")
    err = refused(tinygraph, "predict", "r", "y.png")
    assert "y.png: expected an image of shape (8, 8), got (28, 28)" in err


# refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "text"),
    [
        ("area,kind\n1,a\n2\n", ["--target", "kind"], "line 3: expected 2 fields as in line 1, got 1"),
        ("area,kind\n1,a\n,b\n", ["--target", "kind"], "line 3, column 'area': the cell is empty"),
        ("area,kind\n1,a\n2,\n", ["--target", "kind"], "line 3, column 'kind': the cell is empty"),
        ("area,kind\n1,a\n2x,b\n", ["--target", "kind"], "line 3, column 'area': '2x' is a word among numbers"),
        (MIXED, ["--target", "kind"], r"my.csv: damaged, or not text in UTF-8 \(line 3, field 2: the byte 0xe4"),
        ("area,kind\n1,a\n2,b\n", ["--target", "knid"], "no column is called 'knid'.*did you mean 'kind'"),
        ("area,kind\n1,a\n2,b\n", [], "--target: say which column of my.csv is to be predicted: area, kind"),
        ("area,kind\n1,a\n2,a\n", ["--target", "kind"], "column 'kind': 'a' in every row; a decision needs two"),
        ("area,kind\n1,a\n2,b\n", ["--target", "kind", "--ignore", "aera"], "no column is called 'aera'"),
        ("area,kind\n1,a\n2,b\n", ["--target", "kind", "--held-out", "1.5"], "held-out must be at least 0 and below 1"),
        ("area,kind\n1,a\n2,b\n", ["--target", "kind", "--held-out", "0"], "held-out must be a finite number above 0"),
        ("area,kind\n1,a\n2,b\n", ["--target", "kind"], "both sets need a sample"),
        ("area,kind\n1,a\n2,b\n", ["--target", "kind", "--task", "number"], "task 'number' is not known"),
        ("area,kind\n", ["--target", "kind"], "holds names and no rows"),
    ],
)
def test_data_that_cannot_be_trained_on(tinygraph, tmp_path, content, options, text):
    (tmp_path / "my.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    err = refused(tinygraph, "train", "--data", "my.csv", *options, "--out", "r")
    assert re.search(text, err), err
    assert [path.name for path in tmp_path.iterdir()] == ["my.csv"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--target", "y"], "--target is for data of one's own"),
        (["--held-out", 0.3, "--data", "mnist"], "--held-out is for data of one's own"),
        (["autoencoder", "--data", "my.csv"], "autoencoder: data set 'my.csv' is not known"),
        (["--data", "absent.csv", "--target", "y"], "absent.csv: there is no such file"),
        (["--data", "absent/folder", "--target", "y"], "absent/folder: there is no such file or folder"),
        (["--data", "my.csv", "--target", "y", "--head", "cosine"], "fully_connected has no --head"),
        (
            ["graph_neighborhood", "--data", "cora", "--activation", "relu"],
            "graph_neighborhood on cora has no --activation",
        ),
    ],
)
def test_options_and_files_that_do_not_go_together(tinygraph, arguments, text):
    assert text in refused(tinygraph, "train", *arguments)


def test_rows_that_a_run_cannot_answer(tinygraph, rng):
    write_rows("houses.csv", houses(rng))
    train(tinygraph, "--data", "houses.csv", "--target", "kind", *FEW)
    for names, row, text in (
        (("area", "price"), ["1", "2"], "no column is called 'town'; columns: area, price"),
        (("area", "town", "price"), ["1", "Rom", "2"], "line 2, column 'town': 'Rom' is not known; known: Bonn"),
        (("area", "town", "price"), ["x", "Ulm", "2"], "line 2, column 'area': expected a number, got 'x'"),
        (("area", "town", "price"), ["1e300", "Ulm", "2"], "scaled by the training set: inf at [0, 0]"),
    ):
        write_rows("new.csv", [row], names)
        assert text in refused(tinygraph, "predict", "r", "new.csv")


def test_damaged_preprocessing_is_told(tinygraph, tmp_path, rng):
    write_rows("houses.csv", houses(rng))
    train(tinygraph, "--data", "houses.csv", "--target", "kind", *FEW)
    path = tmp_path / "r" / "preprocessing.safetensors"
    whole = path.read_bytes()
    for wrong in (whole[:-9], b"x", whole.replace(b"target", b"tarket")):
        path.write_bytes(wrong)
        assert "preprocessing.safetensors" in refused(tinygraph, "predict", "r", "houses.csv")


# runs ------------------------------------------------------------------------------------------


def test_a_run_is_an_object(tinygraph, tmp_path, rng):
    write_rows("houses.csv", houses(rng))
    _, results = train(tinygraph, "--data", "houses.csv", "--target", "kind", "--ignore", "price", *FEW)
    (tmp_path / "houses.csv").rename(tmp_path / "new.csv")  # the data is not needed any more
    run = tg.load_run("r")
    assert repr(run) == "Run('r': fully_connected on houses.csv, 3 epochs)"
    assert (run.settings.target, run.settings.epochs, run.results) == ("kind", 3, results)
    assert (len(run.history), run.history.stop_reason) == (3, "completed 3 epochs")
    assert run.history.rows[0].keys() == {*tg.train.history.COLUMNS}
    assert run.net.training is False
    columns = run.predict("new.csv")
    X = run.preprocessing.scaled(run.preprocessing.encoder.inputs(data.read_table("new.csv", columns="all")))
    with tg.no_grad():
        np.testing.assert_array_equal(run.net.predict(X).numpy().max(axis=1), columns["probability"])
    printed = answers(tinygraph, "r", "new.csv")
    assert [a["kind"] for a in printed] == columns["kind"].tolist()


def test_a_run_with_a_data_set_is_an_object_too(tinygraph):
    _, results = train(tinygraph, "--epochs", 2)
    run = tg.load_run("r")
    loss, error = tg.evaluate(run.net, tg.losses.cross_entropy, data.load("digits").test)
    assert (loss, error) == (results["test_loss"], results["test_error"])
    assert run.preprocessing is None
    with pytest.raises(tg.DataError, match="absent holds no run"):
        tg.load_run("absent")


def test_a_run_of_a_newer_version(tinygraph, tmp_path):
    train(tinygraph, "--epochs", 1)
    np.save("x.npy", np.zeros((1, 64)))
    path = tmp_path / "r" / "run.json"
    facts = json.loads(path.read_text())
    facts["versions"]["tinygraph"] = "9.9"
    path.write_text(json.dumps(facts | {"settings": facts["settings"] | {"curvature": 1}}))
    err = refused(tinygraph, "predict", "r", "x.npy")
    assert f"version 9.9 of tinygraph wrote it, with a setting that {tg.__version__} does not know: 'curvature'" in err
    path.write_text(json.dumps(facts | {"format": 2}))
    assert "run.json: written by a newer version of tinygraph, 9.9" in refused(tinygraph, "predict", "r", "x.npy")


# settings from files ---------------------------------------------------------------------------


def test_settings_from_a_file_come_back_with_the_run(tinygraph, tmp_path, rng):
    write_rows("houses.csv", houses(rng))
    (tmp_path / "a.toml").write_text(
        'data = "houses.csv"\ntarget = "kind"\nignore = ["price"]\nhidden = [8, 4]\n'
        "epochs = 2\nbatch-size = 16\nlr = 1\n"
    )
    train(tinygraph, "--config", "a.toml", "--lr", 0.01)
    settings = tg.load_run("r").settings
    assert (settings.hidden, settings.epochs, settings.batch_size, settings.lr) == ("8,4", 2, 16, 0.01)
    assert settings.ignore == ("price",)
    train(tinygraph, "--config", "r/settings.toml", out="again")
    for name in ("weights.safetensors", "settings.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "r" / name).read_bytes()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs = ", "a.toml: not a TOML file"),
        ("epoch = 2", "a.toml: setting 'epoch' is not known; known: model, .*did you mean 'epochs'"),
        ('epochs = "2"', "a.toml: epochs: expected a whole number, got '2'"),
        ("model = 3", "a.toml: model: expected a text, got 3"),
        ("ignore = [1]", r"a.toml: ignore: expected a list of texts, got \[1\]"),
        ("noise = 0.5", "fully_connected has no --noise"),
        ("lr = -1", "lr must be a finite number above 0"),
        ("hidden = [1.5]", "hidden: expected whole numbers"),
    ],
)
def test_files_of_settings_that_do_not_do(tinygraph, tmp_path, text, said):
    (tmp_path / "a.toml").write_text(text)
    assert re.search(said, refused(tinygraph, "train", "--config", "a.toml"))
    assert "absent.toml: there is no such file" in refused(tinygraph, "train", "--config", "absent.toml")


@pytest.mark.parametrize(
    "arguments", [["autoencoder", "--epochs", 1], ["siamese", "--epochs", 1, "--hidden", "8"], ["--optimizer", "adam"]]
)
def test_the_settings_that_are_written_are_taken_again(tinygraph, tmp_path, arguments):
    from tinygraph.tools.training import asked_settings

    train(tinygraph, *arguments, "--epochs", 1)
    assert asked_settings(None, {}, tmp_path / "r" / "settings.toml") == tg.load_run("r").settings


def test_resuming_takes_the_settings_of_the_run(tinygraph, tmp_path, rng):
    write_rows("houses.csv", houses(rng))
    options = ("--data", "houses.csv", "--target", "price", "--ignore", "kind", "--hidden", "8")
    train(tinygraph, *options, "--epochs", 4, out="whole")
    train(tinygraph, *options, "--epochs", 2, out="parts")
    assert tinygraph("train", "--resume", "--out", "parts", "--epochs", 4)[0] == 0
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts"))
    assert a == b
    assert "target is 'price' there and 'kind' here" in refused(
        tinygraph, "train", "--resume", "--out", "parts", "--target", "kind", "--ignore", "price"
    )
    write_rows("houses.csv", houses(rng))
    status, _, err = tinygraph("train", "--resume", "--out", "parts", "--epochs", 9)
    assert (status, err.count("\n"), "a checkpoint of another run: train_set.fingerprint" in err) == (2, 1, True)


# networks of one's own -------------------------------------------------------------------------

NETS = """
import tinygraph as tg
from tinygraph import nn

class Net(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        self.hidden = nn.Dense(n_inputs, 8, activation="tanh")
        self.drop = nn.Dropout(0.1)
        self.last = nn.Dense(8, n_outputs)

    def forward(self, x):
        return self.last(self.drop(self.hidden(x)))

def fixed():
    return Net(64, 10)

ready = Net(64, 3)
number = 3

class Sigmoid(Net):
    output = "sigmoid"

class Wrong(Net):
    def forward(self, x):
        return tg.reshape(self.hidden(x), (3, 5))

class Two(nn.Module):
    def __init__(self):
        self.scale = tg.parameter([1.0])

    def forward(self, a, b):
        return self.scale * a @ b

def broken(n_inputs, n_outputs):
    raise RuntimeError("no\\nluck")

def one(n):
    return Net(n, n)
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "own_nets.py").write_text(NETS)
    (tmp_path / "syntax.py").write_text("def (")
    (tmp_path / "imports.py").write_text("import not_there_at_all")
    yield
    for name in ("own_nets", "syntax", "imports"):
        sys.modules.pop(name, None)


def test_a_network_of_ones_own(tinygraph, tmp_path, rng, nets):
    write_rows("houses.csv", houses(rng))
    for target, more in (("kind", []), ("price", ["--ignore", "kind"])):
        train(tinygraph, "own_nets:Net", "--data", "houses.csv", "--target", target, *more, "--epochs", 2, out=target)
        assert len(answers(tinygraph, target, "houses.csv")) == 120
        assert type(tg.load_run(target).net).__name__ == "Net"
    train(tinygraph, "own_nets:fixed", "--epochs", 1, "--seed", 3, out="a")
    train(tinygraph, "own_nets:fixed", "--epochs", 1, "--seed", 3, out="b")
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "ab")
    assert a == b
    assert tinygraph("train", "own_nets:fixed", "--epochs", 1)[0] == 0
    assert (tmp_path / "runs" / "fixed-digits" / "run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["absent:Net"], "absent:Net: there is no module 'absent', neither in this folder nor installed"),
        (["own_nets:Nett"], "the module own_nets has no 'Nett'; did you mean 'Net'?"),
        (["own_nets:number"], "own_nets:number: expected a network, or what makes one, got a int"),
        (["own_nets:one"], "own_nets:one must take two arguments, the numbers of inputs and outputs, or none"),
        (["own_nets:broken"], r"own_nets:broken: broken\(64, 10\) failed: RuntimeError: no luck"),
        (["own_nets:ready"], r"for an input \(2, 64\) expected an output \(2, 10\), got \(2, 3\)"),
        (["own_nets:Wrong"], r"own_nets:Wrong: called with an input of shape \(2, 64\), it failed"),
        (["own_nets:Sigmoid"], "own_nets:Sigmoid has output = 'sigmoid'; classes are told by 'softmax'"),
        (["own_nets:tg"], "expected a network, or what makes one, got a module"),
        (["syntax:Net"], "syntax:Net: importing syntax failed: SyntaxError"),
        (["imports:Net"], "imports:Net: importing imports failed: ModuleNotFoundError: .*not_there_at_all"),
        (["own_nets:Net", "--hidden", "8"], "own_nets:Net has no --hidden: it is a network of one's own"),
        (["own_nets:Net", "--tied"], "own_nets:Net has no --tied"),
        (["own_nets:Net", "--data", "cora"], "own_nets:Net: data set 'cora' is not known"),
    ],
)
def test_what_is_no_network(tinygraph, nets, arguments, text):
    err = refused(tinygraph, "train", *arguments)
    assert re.search(text, err), err


def test_drawing_a_network_of_ones_own(tinygraph, tmp_path, nets):
    for arguments in (
        ["own_nets:fixed", "--input", "None,64"],
        ["own_nets:ready", "--input", "(None, 64)"],
        ["own_nets:Two", "--input", "None,4", "--input", "4,3"],
        ["own_nets:Net"],
        ["own_nets:Net", "--backward"],
    ):
        status, out, err = tinygraph("render", *arguments, "-o", "net.dot")
        assert (status, err) == (0, "")
        assert re.match(r"wrote net\.dot: \d+ nodes", out)
    assert "hidden" in (tmp_path / "net.dot").read_text()
    for arguments, text in (
        (["own_nets:Net", "--input", "None,64"], "takes the numbers of inputs and outputs; say with --data"),
        (["own_nets:fixed", "--input", "None,x"], "--input: expected sizes separated by commas, such as None,64, got"),
        (["own_nets:fixed", "--input", "None,63"], "own_nets:fixed: drawing it for --input None,63 failed"),
        (["own_nets:fixed", "--input", "None,64", "--backward"], "--backward and --input exclude each other"),
        (["--input", "None,64"], "--input is for a network of one's own, module:Name"),
    ):
        assert text in refused(tinygraph, "render", *arguments, "-o", "other.dot")
    assert not (tmp_path / "other.dot").exists()


# a full disk -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("most", [100, 1000, 3000, 8000, 20000])
def test_a_disk_that_is_full(tinygraph, tmp_path, rng, most):
    """Files may have `most` bytes: those that are there are whole, and the run goes on where there is room."""
    write_rows("houses.csv", houses(rng))
    options = ("--data", "houses.csv", "--target", "kind", *FEW, "--out", "r")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status, _, err = tinygraph("train", *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (status, err.count("\n")) == (2, 1), err
    assert re.search(r"cannot write .*File too large", err)
    assert not list(tmp_path.glob("**/.*.part"))
    again = ("--resume",) if (tmp_path / "r").exists() else ()
    assert tinygraph("train", *options, *again)[0] == 0
    assert len(answers(tinygraph, "r", "houses.csv")) == 120


# Ctrl-C ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("update", [1, 3, 7])
def test_a_signal_ends_a_run_after_the_update_it_is_in(tinygraph, tmp_path, rng, monkeypatch, number, update):
    """An epoch has two updates; what goes on from the middle of one ends with the same bits."""
    write_rows("houses.csv", houses(rng, 20))
    options = ("--data", "houses.csv", "--target", "price", "--ignore", "kind", "--batch-size", 8, "--hidden", "4")
    train(tinygraph, *options, "--epochs", 5, out="whole")
    stop = StopAfterUpdate.batch

    def batch(self, training):
        if training.history.iterations == update:
            signal.raise_signal(number)
        stop(self, training)

    monkeypatch.setattr(StopAfterUpdate, "batch", batch)
    status, _, err = tinygraph("train", *options, "--epochs", 5, "--out", "a run")
    monkeypatch.setattr(StopAfterUpdate, "batch", stop)
    assert (status, err) == (
        128 + number,
        "tinygraph: stopped; go on with: tinygraph train --resume --out 'a run'\n",
    )
    assert tinygraph("train", "--resume", "--out", "a run")[0] == 0
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "a run"))
    assert a == b


# what the names of others must not do ----------------------------------------------------------


def test_a_file_of_settings_in_the_folder_of_the_run_stays(tinygraph, tmp_path, rng):
    write_rows("houses.csv", houses(rng))
    mine = b'# mine\ndata = "houses.csv"\ntarget = "kind"\n'
    (tmp_path / "settings.toml").write_bytes(mine)
    error = refused(tinygraph, "train", "--config", "settings.toml", "--out", ".")
    assert ". has a settings.toml of its own, which a run would write; choose another --out" in error
    assert (tmp_path / "settings.toml").read_bytes() == mine
    assert not (tmp_path / "settings.json").exists()


@pytest.mark.parametrize("target", ["probability", "row"])
def test_a_target_has_the_name_of_a_column_of_answers(tinygraph, rng, target):
    write_rows("a.csv", [[f"{a:.2f}", "hi" if a > 0 else "lo"] for a in rng.normal(size=60)], ("a", target))
    train(tinygraph, "--data", "a.csv", "--target", target, *FEW)
    rows = answers(tinygraph, "r", "a.csv")
    assert {row[target] for row in rows} <= {"hi", "lo"}
    assert len(rows[0]) == 3


def test_a_run_without_its_preprocessing_is_told(tinygraph, tmp_path, rng):
    write_rows("houses.csv", houses(rng))
    train(tinygraph, "--data", "houses.csv", "--target", "kind", *FEW)
    (tmp_path / "r" / "preprocessing.safetensors").unlink()
    assert "preprocessing.safetensors" in refused(tinygraph, "predict", "r", "houses.csv")


def test_settings_written_twice_are_told(tinygraph, tmp_path):
    (tmp_path / "s.toml").write_text("batch_size = 3\nbatch-size = 4\n")
    assert "a setting stands there twice" in refused(tinygraph, "train", "--config", "s.toml")
