"""The builders of `tinygraph.models`: what all have in common, and the multitask network."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.errors import ArgumentError, DataError, DTypeError
from tinygraph.models import autoencoder, fully_connected, graph_neighborhood, multitask, siamese, transfer
from tinygraph.models.siamese_networks import Relation

RING = [[(j - 1) % 6, j] for j in range(6)]
BUILDERS = {
    "fully_connected": lambda **o: fully_connected([6, 5, 3], **o),
    "fully_connected, every signal normalised": lambda **o: fully_connected([6, 5, 3], batch_norm="all", **o),
    "fully_connected, hidden ones normalised": lambda **o: fully_connected([6, 5, 3], batch_norm="hidden", **o),
    "autoencoder": lambda **o: autoencoder([6, 4, 6], **o),
    "tied autoencoder": lambda **o: autoencoder([6, 5, 3, 5, 6], tied=True, **o),
    "graph_neighborhood": lambda **o: graph_neighborhood([RING, None], [6, 6, 3], **o),
    "multitask": lambda **o: multitask([5, 4], tasks=3, n_in=6, **o),
    "siamese, cosine": lambda **o: siamese([6, 5, 4], "cosine", **o),
    "siamese, absolute difference": lambda **o: siamese([6, 5, 4], "absolute_difference", **o),
    "siamese, relation": lambda **o: siamese([6, 5, 4], "relation", **o),
    "transfer": lambda **o: transfer(fully_connected([6, 5, 3], seed=0), [4], **o),
}


def sample(name, rng, dtype=np.float32):
    return rng.normal(size=(4, 2, 6) if "siamese" in name else (4, 6)).astype(dtype)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_seed_makes_the_initial_weights_repeatable(name):
    def weights(seed):
        return [t.numpy() for t in BUILDERS[name](seed=seed).parameters() if t.role == "weight"]

    for a, b in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (weights(1)[-1] != weights(2)[-1]).any()


@pytest.mark.parametrize("name", BUILDERS)
def test_no_two_layers_start_alike(name):
    weights = [t.numpy().ravel() for t in BUILDERS[name](seed=1).parameters() if t.role == "weight"]
    firsts = [w[0] for w in weights]
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize("name", BUILDERS)
def test_state_goes_to_another_net_and_back(name, rng, tmp_path):
    net, other, x = BUILDERS[name](seed=1), BUILDERS[name](seed=2), sample(name, rng)
    tg.save(tmp_path / "weights.safetensors", net)
    tg.load(tmp_path / "weights.safetensors", other)
    np.testing.assert_array_equal(net(x).numpy(), other(x).numpy())


@pytest.mark.parametrize("name", BUILDERS)
def test_every_network_is_drawn_and_a_part_of_something_larger(name, rng):
    x = tg.tensor(sample(name, rng))
    net = BUILDERS[name](seed=1)
    whole = nn.Sequential(net, lambda z: z * 2.0)
    np.testing.assert_array_equal(whole(x).numpy(), 2 * net(x).numpy())
    assert len(whole.parameters()) == len(net.parameters())
    assert tg.graph(net(x)).to_dot().startswith("digraph")


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "transfer"])
def test_parameters_have_the_dtype_asked_for(name, rng):
    net = BUILDERS[name](seed=1, dtype=np.float64)
    assert {t.dtype for t in net.parameters()} == {np.dtype(np.float64)}
    assert net(sample(name, rng)).dtype == np.float64


@pytest.mark.parametrize(
    ("batch_norm", "norms", "biased"),
    [
        (None, [], [1, 2, 3]),
        (False, [], [1, 2, 3]),
        ("hidden", [2, 3], [3]),
        ("all", [2, 3, 4], []),
        (True, [2, 3, 4], []),
    ],
)
def test_batch_norm_says_which_signals_are_normalised_and_a_normalised_layer_has_no_bias(
    batch_norm, norms, biased, rng
):
    net = fully_connected([3, 5, 4, 2], "tanh", batch_norm=batch_norm, dropout=[0.1, 0.0, 0.5], seed=0)
    found = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm)]
    assert found == [f"norm{l}" for l in norms]
    assert [l for l in (1, 2, 3) if getattr(net, f"layer{l}").theta is not None] == biased
    v = [f"v{l}" for l in norms]
    signals = list(net.activations(rng.normal(size=(4, 3))))
    assert [name for name in signals if name.startswith("v")] == v
    assert [name for name in signals if not name.startswith("v")] == ["y1", "z2", "y2", "z3", "y3", "z4", "y4"]


@pytest.mark.parametrize("batch_norm", ["all", "hidden"])
def test_the_shifts_of_batch_norm_are_drawn_as_the_biases_they_stand_for(batch_norm):
    plain, net = (
        fully_connected([3, 5, 2], init_bias="normal", batch_norm=on, seed=0, dtype=np.float64)
        for on in (None, batch_norm)
    )
    theirs, ours = ([t.numpy().tolist() for t in n.parameters() if t.role == "bias"] for n in (plain, net))
    assert ours == theirs


def test_an_unknown_kind_of_batch_norm_is_refused():
    with pytest.raises(ArgumentError, match="batch_norm 'al' is not known; known: all, hidden; did you mean 'all'"):
        fully_connected([3, 2], batch_norm="al")


PER_LAYER = {  # builders with two hidden layers
    "fully_connected": lambda f: fully_connected([6, 5, 4, 3], f),
    "autoencoder": lambda f: autoencoder([6, 4, 3, 4, 6], activation=[*f, "elu"]),
    "tied autoencoder": lambda f: autoencoder([6, 4, 3, 4, 6], tied=True, activation=[*f, "elu"]),
    "graph_neighborhood": lambda f: graph_neighborhood([RING, None, None], [6, 6, 4, 3], f),
    "multitask": lambda f: multitask([5, 4], tasks=3, n_in=6, activation=f),
    "transfer": lambda f: transfer(fully_connected([6, 5, 3], seed=0), [4, 4, 2], activation=f).head,
    "siamese": lambda f: siamese([6, 5, 4, 3], "cosine", activation=f, embedding=tg.elu),
    "siamese with a relation head": lambda f: siamese([6, 5, 3], "relation", relation_sizes=[4], activation=f),
    "relation head": lambda f: Relation(3, [5, 4], f),
}


@pytest.mark.parametrize("name", PER_LAYER)
def test_every_hidden_layer_can_have_an_activation_of_its_own(name):
    net = PER_LAYER[name](["tanh", ["relu", "sigmoid", "sigmoid", "relu"][: 3 if "auto" in name else 4]])
    functions = [m.activation for _, m in net.named_modules() if hasattr(m, "theta")]
    if "siamese" in name:
        functions.remove(tg.elu if name == "siamese" else tg.tanh)  # the embedding's
        functions += [None] * (name == "siamese")
    assert functions[0] is tg.tanh
    assert functions[1].describe().startswith("relu, sigmoid, sigmoid")  # one for each node
    assert functions[2:] == ([tg.elu, None] if "auto" in name else [None])
    with pytest.raises(ArgumentError, match="one activation for each of the .* layers, got [12]$") as caught:
        PER_LAYER[name](["tanh"])
    assert "\n" not in str(caught.value)


def attributes(labels, rng):
    """Five questions about a digit: even, prime, above 4, with a loop, curved; 30 % of the answers missing."""
    members = [(0, 2, 4, 6, 8), (2, 3, 5, 7), (5, 6, 7, 8, 9), (0, 4, 6, 8, 9), (0, 2, 3, 5, 6, 8, 9)]
    answers = np.stack([np.isin(labels, m) for m in members], axis=1).astype(np.float32)
    given = answers.copy()
    given[rng.random(given.shape) < 0.3] = np.nan
    return given, answers


def test_logits_are_pairs_as_the_loss_takes_them(rng):
    net = multitask([5, 4], tasks=3, n_in=6, activation="tanh", seed=0, dtype=np.float64)
    x, target = rng.normal(size=(7, 6)), rng.integers(0, 2, (7, 3)).astype(float)
    target[0] = target[:, 1] = np.nan
    W, theta = net.pairs.W.numpy(), net.pairs.theta.numpy()
    z, shared = net(x).numpy(), net.shared(x).numpy()
    for t in range(3):
        for q in range(2):  # present, absent
            k = 2 * t + q
            np.testing.assert_allclose(z[:, t, q], shared @ W[:, k] - theta[k], rtol=1e-12)
    np.testing.assert_allclose(net.predict(x).numpy().sum(axis=-1), 1, rtol=1e-12)
    tg.gradcheck(net, x, target, losses.multitask_cross_entropy)


def test_a_task_without_labels_leaves_its_own_weights_alone(rng):
    net = multitask([5], tasks=3, n_in=6, seed=0)
    target = rng.integers(0, 2, (7, 3)).astype(np.float32)
    target[:, 1] = np.nan
    losses.multitask_cross_entropy(net(rng.normal(size=(7, 6))), target).backward()
    slope = net.pairs.W.grad.numpy()
    assert not slope[:, 2:4].any()
    assert slope[:, :2].any()
    assert slope[:, 4:].any()


def test_a_batch_without_any_label_has_loss_and_gradients_of_0(rng):
    net = multitask([5], tasks=3, n_in=6, seed=0)
    loss = losses.multitask_cross_entropy(net(rng.normal(size=(7, 6))), np.full((7, 3), np.nan, np.float32))
    loss.backward()
    assert loss.item() == 0
    assert not any(t.grad.numpy().any() for t in net.parameters())


@pytest.mark.host
def test_attributes_of_digits_are_learned_with_30_percent_of_the_labels_missing(rng):
    digits = data.load("digits")
    given, _ = attributes(digits.labels_train, rng)
    _, answers = attributes(digits.labels_test, rng)
    net = multitask([64, 32], tasks=5, n_in=64, seed=0)
    optimizer = optim.Adam(net.parameters(), 1e-3)
    history = tg.fit(
        net, losses.multitask_cross_entropy, (digits.train[0], given), optimizer, epochs=40, progress=False
    )
    wrong = (net.decide(digits.test[0]).numpy()[:, :, 0] != answers).mean(axis=0)
    assert wrong.shape == (5,)
    assert wrong.max() < 0.05
    assert history.errors[-1] < 0.02


@pytest.mark.parametrize("dtype", ["foo", 5, "int32"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: fully_connected([3, 2], dtype=dtype),
        lambda dtype: autoencoder([3, 2, 3], dtype=dtype),
        lambda dtype: graph_neighborhood([[[0]]], [1, 1], dtype=dtype),
        lambda dtype: siamese([3, 2], dtype=dtype),
        lambda dtype: nn.BatchNorm(3, dtype=dtype),
        lambda dtype: tg.parameter([1.0], dtype=dtype),
    ],
)
def test_a_dtype_that_parameters_cannot_have_is_told_in_one_line(make, dtype):
    with pytest.raises(DTypeError, match=f"dtype {dtype!r} is not known|only floating tensors") as caught:
        make(dtype)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: multitask([5], tasks=0, n_in=6), ArgumentError, "tasks must be a whole number of at least 1, got 0"),
        (
            lambda: multitask(5, tasks=2, n_in=6),
            ArgumentError,
            r"hidden must list the sizes of layers, got 5; say \[5\]",
        ),
        (lambda: multitask(None, tasks=2, n_in=6), ArgumentError, "hidden must list the sizes of layers, got None"),
        (lambda: autoencoder("464"), ArgumentError, "sizes must list the sizes of layers, got '464'"),
        (lambda: siamese(4), ArgumentError, r"sizes must list the sizes of layers, got 4; say \[4\]"),
        (lambda: siamese([4, 3], ["cosine"]), ArgumentError, r"head \['cosine'\] is not known"),
        (lambda: graph_neighborhood(None, [6, 3]), ArgumentError, "list with the neighbourhoods .* got NoneType"),
        (lambda: multitask([5, -1], tasks=2, n_in=6), ArgumentError, "at least 1, got -1"),
        (lambda: graph_neighborhood([3], [4, 3]), ArgumentError, "layer 1: expected Neighborhoods, a list .* got 3"),
        (lambda: graph_neighborhood([[0, 1]], [4, 2]), ArgumentError, r"layer 1: expected Neighborhoods, .* \[0, 1"),
        (lambda: graph_neighborhood([["a"]], [4, 1]), DataError, "layer 1: what feeds node 0: expected whole numbers"),
        (lambda: graph_neighborhood([[[0.5]]], [4, 1]), DataError, "what feeds node 0: expected whole numbers"),
        (lambda: siamese([4, 3], "relation", relation_sizes=3), ArgumentError, r"relation_sizes must list .* \[3\]"),
    ],
)
def test_sizes_that_do_not_fit_are_named_in_one_line(make, error, text):
    with pytest.raises(error, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_labels_other_than_0_1_and_nan_are_named_in_one_line(rng):
    net = multitask([5], tasks=2, n_in=6, seed=0)
    optimizer, target = optim.SGD(net.parameters(), 0.1), np.array([[0, 1], [np.nan, 2]], np.float32)
    with pytest.raises(DataError, match=r"from 0 to 1, or NaN where missing; there is 2.0 at \[1, 1\]") as caught:
        tg.fit(net, losses.multitask_cross_entropy, (rng.normal(size=(2, 6)), target), optimizer, progress=False)
    assert "\n" not in str(caught.value)
