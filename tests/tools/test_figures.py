"""``tinygraph figure``: what the figures hold, and what the command does with good and bad input."""

import gzip
import math
import re
import socket

import numpy as np
import pytest
from data_files import SHARED

import tinygraph as tg
from tinygraph.tools import figures
from tinygraph.tools.figures import activations, gaussian_process, images, universal_approximation, vanishing_gradient
from tinygraph.tools.gaussian_process import kernel

pytestmark = pytest.mark.host
QUICK = {  # the figures that need no data, made small
    "65.2": [],
    "65.18": ["--nodes", 2],
    "65.197": ["--draws", 50],
    "vanishing-gradient": ["--layers", 4],
    "65.12": ["--data", "digits"],
}


@pytest.fixture
def tinygraph(tinygraph, tmp_path, monkeypatch):
    """The command line where no data set has been downloaded and the network is not to be asked."""

    def refuse(*arguments):
        raise AssertionError("a figure asks the network")

    monkeypatch.setattr(images, "cache", lambda: tmp_path / "absent")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tinygraph


# the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_a_figure_is_written_and_the_same_bytes_again(tinygraph, tmp_path, name):
    status, out, err = tinygraph("figure", name, *QUICK[name])
    assert (status, err, out.splitlines()[-1]) == (0, "", f"wrote figure-{name}.svg")
    first = (tmp_path / f"figure-{name}.svg").read_bytes()
    assert first.startswith(b"<?xml")
    tinygraph("figure", name, *QUICK[name], "-o", "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.svg", f"figure-{name}.svg"]


@pytest.mark.parametrize("name", ["65.197", "vanishing-gradient", "65.12"])
def test_another_seed_gives_another_figure(tinygraph, tmp_path, name):
    for seed in (0, 1):
        tinygraph("figure", name, *QUICK[name], "--seed", seed, "-o", f"{seed}.svg")
    assert (tmp_path / "0.svg").read_bytes() != (tmp_path / "1.svg").read_bytes()


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("SVG", b"<?xml")])
def test_the_ending_decides_the_format(tinygraph, tmp_path, ending, start):
    for name in ("a", "b"):
        assert tinygraph("figure", "65.2", "-o", f"{name}.{ending}")[0] == 0
    a, b = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("a", "b"))
    assert a.startswith(start)
    assert a == b


def test_without_a_number_the_figures_are_listed(tinygraph, tmp_path):
    status, out, err = tinygraph("figure")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(figures.FIGURES)
    assert re.search(r"^65\.13 .*CIFAR-10 .*\[--data-dir\]", out, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["65.3"], "figure '65.3' is not known; known: .*vanishing-gradient; did you mean '65.13'"),
        (["--seed", 3], "figure: options need the name of a figure before them, one of .*vanishing-gradient"),
        (["-o", "f.svg"], "figure: options need the name of a figure"),
        (["65.2", "-o", "f.gif"], r"f\.gif: the name must end in \.svg, \.pdf, \.png"),
        (["65.2", "-o", "absent/f.svg"], "cannot write absent/f.svg"),
        (["65.2", "-o", "/proc/f.svg"], "cannot write /proc/f.svg"),
        (["65.2", "--seed", 1], "figure 65.2 has no --seed; its options: none"),
        (["65.18", "--data-dir", "x"], "figure 65.18 has no --data-dir; its options: --nodes, --activation, --seed"),
        (["65.18", "--nodes", 0], "K must be a whole number of at least 1, got 0"),
        (["65.18", "--activation", "sigmiod"], "activation 'sigmiod' is not known; .*did you mean 'sigmoid'"),
        (["65.197", "--draws", 0], "draws must be a whole number of at least 1, got 0"),
        (["65.197", "--seed", -1], "seed: expected a whole number"),
        (["vanishing-gradient", "--layers", 2], "layers must be a whole number of at least 3, got 2"),
        (
            ["65.12"],
            "mnist cannot be drawn: .*name the folder with its files by --data-dir or TINYGRAPH_DATA_DIR, .*digits",
        ),
        (["65.13"], "cifar10 cannot be drawn: .*name the folder with its files by --data-dir or TINYGRAPH_DATA_DIR"),
        (["65.13", "--data-dir", "."], r"no cifar10 in \.: expected cifar-10-binary\.tar\.gz there or in cifar10/"),
        (["65.12", "--data", "mnits"], "data set 'mnits' is not known; .*did you mean 'mnist'"),
        (["65.12", "--data", "digits", "--rows", 0], "rows must be a whole number of at least 1, got 0"),
        (["65.12", "--data", "digits", "--rows", 200], "digits has 1442 training images, 2000 are asked for"),
    ],
)
def test_mistakes_end_in_one_line_and_status_two(tinygraph, tmp_path, arguments, text):
    status, out, err = tinygraph("figure", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(text, err)
    assert list(tmp_path.iterdir()) == []  # nothing half-written is left


# Figure 65.2 ------------------------------------------------------------------------------------


def test_figure_65_2_has_the_functions_and_their_derivatives():
    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    expected = [  # the panels from left to right: functions and derivatives of one number
        [sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))],
        [math.tanh, lambda z: 1 - math.tanh(z) ** 2],
        [
            lambda z: max(0.0, z),
            lambda z: 1.0 if z > 0 else 0.0,
            lambda z: math.log(1 + math.exp(z)),
            sigmoid,
        ],
    ]
    picture, _ = activations.draw()
    assert [len(axes.lines) for axes in picture.axes] == [2, 2, 4]
    for axes, functions in zip(picture.axes, expected, strict=True):
        for line, function in zip(axes.lines, functions, strict=True):
            z, y = line.get_data()
            assert (z[0], z[-1]) == (-5, 5)
            np.testing.assert_allclose(y, [function(v) for v in z], atol=1e-12)


# Figures 65.12 and 65.13 ------------------------------------------------------------------------


def blocks(picture, rows, columns):
    """The images of a picture of images, cut out of it: (rows * columns, height and width with borders, channels)."""
    whole = np.asarray(picture.axes[0].images[0].get_array())
    tall, wide = whole.shape[0] // rows, whole.shape[1] // columns
    return [whole[r * tall : (r + 1) * tall, c * wide : (c + 1) * wide] for r in range(rows) for c in range(columns)]


def test_the_images_are_those_of_the_training_set_with_their_classes():
    X, Y = tg.data.load("digits").train
    picture, lines = images.draw("digits", rows=3, columns=4, seed=2)
    assert lines == ["12 of 1,442 training images of digits"]
    found = [block[:8, :8].reshape(-1) for block in blocks(picture, 3, 4)]
    names = [text.get_text() for text in picture.axes[0].texts]
    rows = [int(np.flatnonzero((image == X).all(axis=1))[0]) for image in found]
    assert len(set(rows)) == 12
    assert names == [str(Y[row].argmax()) for row in rows]


def test_the_colours_are_in_their_places(tmp_path):
    record = np.zeros((3, 32, 32), np.uint8)
    record[0, 2, 3], record[1, 4, 5], record[2, 6, 7] = 255, 51, 102
    raw = gzip.compress(bytes([8]) + record.tobytes())
    for name in ("train", "test"):
        (tmp_path / f"cifar_{name}.bin.gz").write_bytes(raw)
    picture, _ = images.draw("cifar10", tmp_path, rows=1, columns=1)
    (image,) = blocks(picture, 1, 1)
    assert image[2, 3].tolist() == [1, 0, 0]
    assert image[4, 5].tolist() == pytest.approx([0, 0.2, 0])
    assert image[6, 7].tolist() == pytest.approx([0, 0, 0.4])
    assert image[:32, :32].sum() == pytest.approx(1.6)
    assert picture.axes[0].texts[0].get_text() == "ship"


@pytest.mark.parametrize(
    ("name", "folder", "size"),
    [("65.12", "mnist", "28 x 28 pixels"), ("65.13", "cifar10-subset", "3 channels of 32 x 32 pixels")],
)
def test_the_published_data(tinygraph, tmp_path, name, folder, size):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no {folder} in {SHARED}")
    status, out, err = tinygraph("figure", name, "--data-dir", SHARED)
    assert (status, err) == (0, "")
    assert out.startswith("50 of ")
    assert size in (tmp_path / f"figure-{name}.svg").read_text()


def test_a_data_set_without_images_is_refused(monkeypatch):
    monkeypatch.setattr(images, "load", lambda name, folder: object())
    with pytest.raises(tg.ArgumentError, match="data set 'cora' holds no images"):
        images.draw("cora")


# Figure 65.18, the Gaussian process, the vanishing gradient ---------------------------------------


def test_figure_65_18_has_the_printed_network_and_the_fits():
    picture, lines = universal_approximation.draw([2, 20])
    left, right = picture.axes
    said = [text.get_text() for text in left.texts]
    assert (said.count("$f$"), said.count(r"$\Sigma$")) == (3, 1)  # three hidden nodes, one linear output
    g = right.lines[0].get_ydata()
    assert (g.min() >= 0, g.max() <= 1) == (True, True)  # as the theorem's g
    errors = [np.abs(line.get_ydata() - g).max() for line in right.lines[1:]]
    assert errors[1] < 0.1 < errors[0]
    assert [float(line.split()[-1]) for line in lines] == pytest.approx(errors, rel=0.5)


def test_the_dots_of_the_gaussian_process_lie_on_its_curves():
    picture, lines = gaussian_process.draw([1, 16], draws=2000)
    left, right = picture.axes
    curves = [line for line in left.lines if len(line.get_xdata()) > 100]
    dots = [container.lines[0] for container in left.containers]
    assert len(curves) == len(dots) == 3
    moments = gaussian_process.MOMENTS
    for curve, dot, i in zip(curves, dots, gaussian_process.FIXED, strict=True):
        h, values = curve.get_data()
        fixed = gaussian_process.INPUTS[i : i + 1]
        np.testing.assert_allclose(np.ravel(values), kernel(fixed, np.reshape(h, (-1, 1)), **moments)[0])
        assert np.abs(dot.get_ydata() - np.interp(dot.get_xdata(), np.ravel(h), np.ravel(values))).max() < 0.1
    assert len(right.patches) == 2
    kurtosis = [float(line.split()[-1]) for line in lines]
    assert kurtosis[0] > 1 > 0.5 > abs(kurtosis[1])


def test_the_vanishing_gradient_is_seen():
    picture, _ = vanishing_gradient.draw(layers=8)
    left, right = picture.axes
    sigmoid, tanh, rectifier = (line.get_ydata() for line in left.lines if "1/4" not in line.get_label())
    (bound,) = (line.get_ydata() for line in left.lines if "1/4" in line.get_label())
    assert list(left.lines[0].get_xdata()) == [2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(bound[:-1] / bound[1:], 0.25)
    assert sigmoid[0] < 1e-3 * sigmoid[-1]
    assert min(tanh[0], rectifier[0]) > 50 * sigmoid[0]
    assert right.lines[0].get_ydata()[0] < 1e-3 * right.lines[0].get_ydata()[-1]


@pytest.mark.slow
def test_very_many_layers_are_drawn_too():
    left = vanishing_gradient.draw(layers=600)[0].axes[0]
    assert left.lines[0].get_ydata()[0] == left.lines[-1].get_ydata()[0] == 0  # 4**-598 is below all numbers
