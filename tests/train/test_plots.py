"""What the pictures of training hold: the data of their lines, images and points; not their pixels."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, optim, plots
from tinygraph.models import autoencoder, fully_connected
from tinygraph.plots.canvas import mosaic
from tinygraph.plots.recorder import LayerState, Moment

pytestmark = pytest.mark.host


def history(rows=4, best_epoch=None, **columns):
    """A history of some epochs."""
    named = {
        "epoch": list(range(1, rows + 1)),
        "loss": np.linspace(2, 1, rows).tolist(),
        "error": [0.5] * rows,
        "validation_loss": [None] * rows,
        "validation_error": [None] * rows,
        "seconds": [0.1] * rows,
    } | columns
    return tg.History([{name: values[i] for name, values in named.items()} for i in range(rows)], best_epoch=best_epoch)


def recorder(layers=("z2", "z3"), moments=3, **numbers):
    """A recorder that holds made-up numbers: those of layer i at moment m are (i + 1) (m + 1) / 100."""
    held = plots.Recorder(losses.cross_entropy, (np.ones((2, 2)), np.ones(2)))
    held.moments = [
        Moment(
            10 * m,
            1.0,
            {
                name: LayerState(name, *[(i + 1) * (m + 1) / 100] * 5, np.array([1, 3]), np.array([0.0, 0.5, 2.0]))
                for i, name in enumerate(layers)
            },
        )
        for m in range(moments)
    ]
    return held


def lines(axes):
    """The lines of a panel by their labels, as lists of points."""
    return {line.get_label(): list(zip(*map(np.ravel, line.get_data()), strict=True)) for line in axes.lines}


def points(*pairs):
    """Points to compare with those of a line."""
    return [pytest.approx(pair) for pair in pairs]


# learning curves --------------------------------------------------------------------------------


def test_learning_curves_hold_the_history_and_the_pocket_point():
    picture = plots.learning_curves(history(validation_loss=[2.0, 1.5, 1.6, 1.7], best_epoch=2), "test")
    loss, error = picture.axes
    assert lines(loss)["training"] == points((1, 2), (2, 5 / 3), (3, 4 / 3), (4, 1))
    assert lines(loss)["test"] == [(1, 2.0), (2, 1.5), (3, 1.6), (4, 1.7)]
    assert [x for x, _ in lines(loss)["pocket: epoch 2"]] == [2, 2]
    assert [(2, 1.5)] in lines(loss).values()
    assert "test" not in lines(error)  # no errors were measured there
    assert lines(error)["training"] == [(e, 50.0) for e in range(1, 5)]
    told = [text.get_text() for text in loss.get_legend().get_texts()]
    assert told == ["training", "test", "pocket: epoch 2"]


def test_the_pocket_of_the_initial_parameters_has_no_point():
    picture = plots.learning_curves(history(validation_loss=[2.0, 2.5, 2.6, 2.7], best_epoch=0))
    assert [x for x, _ in lines(picture.axes[0])["pocket: epoch 0"]] == [0, 0]
    assert len(picture.axes[0].lines) == 3


def test_metrics_of_ones_own_have_panels_and_absent_columns_none():
    picture = plots.learning_curves(history(error=[None] * 4, validation_recall=[0.1, None, 0.3, 0.4]))
    assert [axes.get_title(loc="left") for axes in picture.axes] == ["loss", "recall"]
    drawn = lines(picture.axes[1])["validation"]
    assert drawn[0] == (1, 0.1)
    assert math.isnan(drawn[1][1])


def test_a_history_without_epochs_is_refused():
    with pytest.raises(tg.ArgumentError, match="no epoch yet"):
        plots.learning_curves(tg.History())
    with pytest.raises(tg.ArgumentError, match="expected the History that fit returns, got a dict"):
        plots.learning_curves({})


# what was recorded ------------------------------------------------------------------------------


def test_norms_over_time_have_a_line_for_each_layer():
    picture = plots.gradient_norms(recorder())
    assert [axes.get_yscale() for axes in picture.axes] == ["log", "log"]
    for axes in picture.axes:
        found = lines(axes)
        assert found["z2"] == points((0, 0.01), (10, 0.02), (20, 0.03))
        assert found["z3"] == points((0, 0.02), (10, 0.04), (20, 0.06))


def test_several_recorders_are_rows_of_one_scale():
    picture = plots.gradient_norms({"tanh": recorder(), "relu": recorder(moments=9)})
    titles = [axes.get_title(loc="left").split(":")[0] for axes in picture.axes]
    assert titles == ["tanh", "tanh", "relu", "relu"]
    assert picture.axes[0].get_ylim() == picture.axes[2].get_ylim()
    assert picture.axes[0].get_ylim()[1] >= 0.18


def test_many_layers_are_told_apart_by_a_bar_of_colours():
    picture = plots.gradient_norms(recorder([f"z{i}" for i in range(2, 31)]))
    bar = picture.axes[-1]
    assert [axes.get_legend() for axes in picture.axes] == [None] * 3
    assert [text.get_text() for text in bar.get_yticklabels()][:2] == ["z2", "z6"]


def test_shares_are_percentages_and_layers_without_activation_left_out():
    held = recorder()
    for moment in held.moments:
        old = moment.layers["z3"]
        moment.layers["z3"] = LayerState("z3", 1.0, 1.0, 1.0, math.nan, math.nan, old.counts, old.edges)
    saturated, dead = plots.saturation(held).axes
    for axes in (saturated, dead):
        assert lines(axes) == {"z2": points((0, 1), (10, 2), (20, 3))}
        assert axes.get_ylim() == (-2, 102)


def test_zeros_alone_have_no_logarithm_and_some_beside_others_do(tmp_path):
    held = recorder()
    counts, edges = held.moments[0].layers["z2"].counts, held.moments[0].layers["z2"].edges
    zero = LayerState("z2", 0.0, 0.0, 0.0, 0.0, 0.0, counts, edges)
    for moment in held.moments:
        moment.layers["z2"] = zero
    some = plots.gradient_norms(held)
    assert some.axes[0].get_yscale() == "log"
    for moment in held.moments:
        moment.layers["z3"] = zero
    none = plots.gradient_norms(held)
    assert none.axes[0].get_yscale() == "linear"
    for picture in (some, none):
        plots.save(picture, tmp_path / "a.svg")


@pytest.mark.parametrize("name", ["$x^$", "a$", "<b>&", "a" * 20_000, "\n"])
def test_names_are_shown_as_they_are_and_not_too_long(tmp_path, name):
    shown = (name if len(name) < 20 else "a" * 12 + "…" + "a" * 11).replace("\n", r"\n").replace("$", r"\$")
    named = plots.confusion_matrix([0, 1], [0, 1], [name, "b"])
    assert named.axes[0].get_yticklabels()[0].get_text() == shown
    for picture in (
        named,
        plots.roc({name: [0.1, 0.2]}, [0, 1]),
        plots.gradient_norms({name: recorder()}),
        plots.learning_curves(history(validation_loss=[1.0] * 4), name),
        plots.norms_by_layer({name: {"z2": tg.sensitivity.LayerNorms(1.0, 1.0)}}),
    ):
        plots.save(picture, tmp_path / "a.svg")


def test_a_panel_without_lines_is_left_out():
    net = fully_connected([2, 3, 2], "relu", seed=0)
    held = plots.Recorder(losses.cross_entropy, (np.ones((2, 2)), [0, 1]))
    held.moments = [held.measure(net)]
    (axes,) = plots.saturation(held).axes  # a rectifier does not saturate
    assert axes.get_title(loc="left") == "dead nodes, %"
    assert list(lines(axes)) == ["z2"]


def test_the_ratio_of_update_to_weight_has_its_usual_size_beside_it():
    held = recorder(["z2"])
    first = held.moments[0].layers["z2"]
    held.moments[0].layers["z2"] = LayerState("z2", 1.0, 1.0, math.nan, 0.0, 0.0, first.counts, first.edges)
    (axes,) = plots.update_ratios(held).axes
    assert lines(axes)["z2"] == points((10, 0.02), (20, 0.03))
    assert [y for line in axes.lines for y in line.get_ydata()][-2:] == [1e-3, 1e-3]


@pytest.mark.parametrize(("at", "when"), [(-1, 20), (1, 10), (0, 0)])
def test_histograms_are_densities(at, when):
    picture = plots.activations(recorder(), at)
    assert f"after {when} updates" in picture.get_suptitle()
    for axes in picture.axes:
        values, edges, _ = axes.patches[0].get_data()
        np.testing.assert_allclose(values, [0.5, 0.5])  # 1/4 of the values in 0.5, 3/4 in 1.5
        assert (values * np.diff(edges)).sum() == pytest.approx(1)
        assert len(axes.patches) == (1 if at == 0 else 2)
    share = f"{2 * (when / 10 + 1):.0f} %"
    assert picture.axes[1].get_title(loc="right") == f"{share} saturated\n{share} dead"
    assert picture.axes[0].get_title(loc="left") == "z2"


@pytest.mark.parametrize(
    ("function", "held", "text"),
    [
        (plots.gradient_norms, plots.Recorder(losses.cross_entropy, (1, 2)), "holds nothing yet; give it to fit"),
        (plots.activations, history(), "expected a tinygraph.plots.Recorder, got a History"),
        (lambda held: plots.activations(held, 3), recorder(), "holds 3 moments, there is no moment 3"),
        (plots.norms_by_layer, {}, "expected at least one network"),
    ],
)
def test_what_holds_nothing_to_draw_is_refused(function, held, text):
    with pytest.raises(tg.ArgumentError, match=text):
        function(held)


def test_an_untrained_recorder_has_no_updates_to_draw():
    net = fully_connected([2, 3, 2], seed=0)
    held = plots.Recorder(losses.cross_entropy, (np.ones((2, 2)), [0, 1]))
    held.moments = [held.measure(net)]
    with pytest.raises(tg.ArgumentError, match="no finite number of this kind"):
        plots.update_ratios(held)


def test_norms_by_layer_have_a_line_for_each_network():
    norms = {"a": {f"z{i}": tg.sensitivity.LayerNorms(0.1 * i, 0.2 * i) for i in range(2, 5)}}
    norms["b"] = dict(list(norms["a"].items())[:2])
    left, right = plots.norms_by_layer(norms).axes
    assert lines(left) == {"a": points((2, 0.2), (3, 0.3), (4, 0.4)), "b": points((2, 0.2), (3, 0.3))}
    assert lines(right)["b"] == points((2, 0.4), (3, 0.6))


# decisions --------------------------------------------------------------------------------------


def test_the_confusion_matrix_holds_shares_and_counts(rng):
    decision, target = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    picture = plots.confusion_matrix(decision, target, ["cat", "dog", "eel"])
    axes = picture.axes[0]
    counts = np.zeros((3, 3))
    for d, t in zip(decision, target, strict=True):
        counts[t, d] += 1
    np.testing.assert_allclose(axes.images[0].get_array(), 100 * counts / counts.sum(axis=1, keepdims=True))
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((j, i), str(int(counts[i, j]))) for i in range(3) for j in range(3) if counts[i, j]
    }
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cat", "dog", "eel"]


def test_curves_of_classes_are_those_of_each_against_the_rest(rng):
    sklearn = pytest.importorskip("sklearn.metrics")
    p, y = rng.random((80, 3)).round(1), rng.integers(0, 3, 80)
    for target in (y, np.eye(3)[y]):
        axes = plots.roc(p, target, ["a", "b", "c"]).axes[0]
        for i, line in enumerate(axes.lines[1:]):
            false, true, _ = sklearn.roc_curve(y == i, p[:, i], drop_intermediate=False)
            np.testing.assert_allclose(np.transpose(line.get_data()), np.transpose([false, true]))
            assert line.get_label() == f"{'abc'[i]}: area {sklearn.roc_auc_score(y == i, p[:, i]):.3f}"


def test_curves_leave_missing_labels_out_and_compare_scores_by_name(rng):
    score, same = rng.random(40), rng.integers(0, 2, 40).astype(float)
    padded = np.stack([np.append(score, 9.0), np.append(score, 0.5)], axis=1)
    labels = np.stack([np.append(same, np.nan), np.append(same, 1.0)], axis=1)
    alone = plots.roc(score, same).axes[0].lines[1]
    named = plots.roc({"network": score, "pixels": -score}, same).axes[0].lines
    np.testing.assert_array_equal(plots.roc(padded, labels).axes[0].lines[1].get_data(), alone.get_data())
    np.testing.assert_array_equal(named[1].get_data(), alone.get_data())
    assert named[2].get_label().startswith("pixels: area ")


def test_regions_are_the_decisions_of_the_network(rng):
    net = fully_connected([2, 6, 3], "tanh", seed=1)
    X, y = rng.standard_normal((30, 2)), np.arange(30) % 3
    picture = plots.decision_regions(net, X, y, ["a", "b", "c"], steps=7)
    axes = picture.axes[0]
    shown, (left, right, low, high) = axes.images[0].get_array(), axes.images[0].get_extent()
    for i, v in enumerate(np.linspace(low, high, 7)):
        for j, u in enumerate(np.linspace(left, right, 7)):
            assert shown[i, j] == net(np.array([[u, v]])).numpy().argmax()
    assert (left, high) < (X[:, 0].min(), math.inf)
    assert [len(dots.get_offsets()) for dots in axes.collections] == [10, 10, 10]
    np.testing.assert_array_equal(axes.collections[1].get_offsets(), X[1::3])


@pytest.mark.parametrize(("output", "labels"), [("sigmoid", (0, 1)), ("tanh", (-1, 1))])
def test_regions_of_one_output_have_its_labels(rng, output, labels):
    net = fully_connected([2, 4, 1], "tanh", output, seed=0)
    X = rng.standard_normal((8, 2))
    for y in (np.array(labels * 4), np.array(labels * 4, float)[:, None]):
        axes = plots.decision_regions(net, X, y, steps=5).axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == [str(label) for label in labels]


@pytest.mark.parametrize(
    ("net", "X", "y", "error", "text"),
    [
        (
            fully_connected([2, 2], output="linear"),
            np.ones((3, 2)),
            [0, 1, 0],
            tg.ArgumentError,
            "decides on one class",
        ),
        (
            fully_connected([2, 2], output="sigmoid"),
            np.ones((3, 2)),
            [0, 1, 0],
            tg.ArgumentError,
            "decides on one class",
        ),
        (fully_connected([3, 2]), np.ones((3, 3)), [0, 1, 0], tg.DataError, r"shape \(n, 2\), got \(3, 3\)"),
        (fully_connected([2, 2]), np.ones((3, 2)), [0, 1], tg.DataError, "a class for each of 3 samples"),
        (fully_connected([2, 2]), np.full((3, 2), np.nan), [0, 1, 0], tg.DataError, "nan at .*row 0, column 0"),
        (fully_connected([2, 2]), np.ones((3, 2)), [0.5, 1, 0], tg.DataError, "decisions, whole numbers, got 0.5"),
    ],
)
def test_regions_need_one_decision_on_two_inputs(net, X, y, error, text):
    with pytest.raises(error, match=text):
        plots.decision_regions(net, X, y)


# images -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3, 4), (5, 3, 3, 4)])
def test_a_mosaic_holds_each_image_in_its_place(rng, shape):
    images = rng.random(shape)
    joined = mosaic(images, 2, below=2, right=1, fill=9.0)
    assert joined.shape == (3 * 5, 2 * 5, 1 if len(shape) == 3 else 3)
    for k in range(5):
        block = joined[k // 2 * 5 :, k % 2 * 5 :][:5, :5]
        colours = images[k] if len(shape) == 4 else images[k][None]
        np.testing.assert_array_equal(block[:3, :4], np.moveaxis(colours, 0, -1))
        assert (block[3:] == 9).all()
        assert (block[:, 4:] == 9).all()
    assert (joined[10:, 5:] == 9).all()


def test_weights_are_drawn_node_by_node():
    net = fully_connected([12, 5, 2], seed=0)
    W = net.layer1.W.numpy()
    axes = plots.weights(net, (3, 4), most=4).axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown[:3, 5:9], W[:, 1].reshape(3, 4))
    np.testing.assert_array_equal(shown[4:7, :4], W[:, 2].reshape(3, 4))
    assert np.isnan(np.asarray(shown)[3]).all()
    assert axes.images[0].get_clim() == pytest.approx((-np.abs(W[:, :4]).max(), np.abs(W[:, :4]).max()))
    assert axes.get_title(loc="left") == "weights to 4 of 5 nodes"


def test_weights_of_colours_are_around_grey():
    W = tg.parameter(np.zeros((12, 1), np.float32), name="W")
    W.assign_(np.append(np.ones(4), np.zeros(8)).reshape(12, 1).astype(np.float32))
    shown = plots.weights(W, (3, 2, 2)).axes[0].images[0].get_array()
    assert shown[0, 0].tolist() == [1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("shape", "text"),
    [((3, 5), r"of 12 numbers, got \(3, 5\)"), ((2, 2, 3), "colours, height, width"), (None, r"got \(3, 3\)")],
)
def test_images_have_a_shape_that_fits(shape, text):
    with pytest.raises(tg.ArgumentError, match=text):
        plots.weights(fully_connected([12, 2]), shape)


def test_a_network_without_weights_has_none_to_draw():
    with pytest.raises(tg.ArgumentError, match="expected a weight matrix"):
        plots.weights(tg.nn.Sequential())


def test_reconstructions_stand_below_their_images(rng):
    net = autoencoder([4, 2, 4], seed=0)
    X = rng.random((3, 4)).astype(np.float32)
    given = X * (rng.random((3, 4)) < 0.5)
    for rows, options in ((2, {}), (3, {"given": given})):
        axes = plots.reconstructions(net, X, **options).axes[0]
        shown = np.asarray(axes.images[0].get_array())
        back = net.predict(options.get("given", X)).numpy()
        np.testing.assert_allclose(shown[:2, 3:5], X[1].reshape(2, 2))
        np.testing.assert_allclose(shown[3 * rows - 3 : 3 * rows - 1, 3:5], back[1].reshape(2, 2))
        assert len(axes.get_yticklabels()) == rows


def test_what_gives_back_another_shape_is_refused():
    with pytest.raises(tg.DataError, match=r"reconstruction: expected shape \(3, 4\), got \(3, 2\)"):
        plots.reconstructions(fully_connected([4, 2]), np.ones((3, 4)))


# embeddings -------------------------------------------------------------------------------------


def test_embeddings_are_the_first_principal_components(rng):
    decomposition = pytest.importorskip("sklearn.decomposition")
    net = tg.nn.Sequential(tg.nn.Dense(6, 5, "tanh", seed=0), tg.nn.Dropout(0.5))
    X, y = rng.standard_normal((20, 6)), np.arange(20) % 2
    axes = plots.embeddings(net, X, y, ["even", "odd"]).axes[0]
    expected = decomposition.PCA(2).fit(net.eval()(X).numpy())
    drawn = np.empty((20, 2))
    drawn[::2], drawn[1::2] = (np.asarray(c.get_offsets()) for c in axes.collections)
    np.testing.assert_allclose(np.abs(drawn), np.abs(expected.transform(net(X).numpy())), rtol=1e-3, atol=1e-5)
    assert axes.get_xlabel() == f"component 1: {100 * expected.explained_variance_ratio_[0]:.0f} % of the variance"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["even", "odd"]


def test_two_numbers_are_drawn_as_they_are_and_fewer_refused(rng):
    X = rng.standard_normal((6, 2))
    axes = plots.embeddings(tg.tensor, X, [0] * 6).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), X)
    with pytest.raises(tg.DataError, match="at least two numbers a sample"):
        plots.embeddings(lambda x: tg.tensor(x[:, :1]), X, [0] * 6)


# figures as such --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["svg", "png", "pdf"])
def test_a_figure_is_saved_the_same_each_time(tmp_path, ending):
    for name in "ab":
        plots.save(plots.gradient_norms(recorder()), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_another_ending_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(tg.ArgumentError, match=r"the name must end in \.svg, \.pdf, \.png"):
        plots.save(plots.gradient_norms(recorder()), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_shows_itself_in_a_notebook_and_can_be_pickled():
    picture = plots.gradient_norms(recorder())
    assert picture._repr_svg_().startswith("<svg")
    assert lines(pickle.loads(pickle.dumps(picture)).axes[0]) == lines(picture.axes[0])


def test_matplotlib_is_imported_when_something_is_drawn():
    code = (
        "import sys, tinygraph as tg; tg.plots.Recorder; early = 'matplotlib' in sys.modules\n"
        "tg.plots.confusion_matrix([0, 1], [0, 1])\n"
        "print(early, 'matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True", "False"]


def test_the_curves_of_a_run_are_drawn_from_what_fit_recorded(rng):
    X, y = rng.standard_normal((24, 3)), np.arange(24) % 2
    net = fully_connected([3, 4, 2], "sigmoid", seed=0)
    held = plots.Recorder(losses.cross_entropy, (X, y), most=4)
    made = tg.fit(
        net,
        losses.cross_entropy,
        (X, y),
        optim.SGD(net.parameters(), 0.1),
        3,
        8,
        validation=(X, y),
        early_stopping=True,
        callbacks=[held],
        progress=False,
    )
    assert lines(plots.learning_curves(made).axes[0])["validation"] == list(
        zip([1, 2, 3], made["validation_loss"], strict=True)
    )
    for draw in (plots.gradient_norms, plots.saturation, plots.update_ratios, plots.activations):
        draw(held)
