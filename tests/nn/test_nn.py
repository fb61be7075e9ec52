"""Modules, layers, initialisation, the fully-connected builder."""

import copy

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import ArgumentError, DTypeError, GraphError, ShapeError
from tinygraph.models import autoencoder, fully_connected, graph_neighborhood, multitask, siamese, transfer


class TwoBranches(nn.Module):
    def __init__(self):
        self.shared = nn.Dense(3, 3, activation="tanh", seed=0)
        self.heads = [nn.Dense(3, 2, seed=1), nn.Dense(3, 2, seed=2)]
        self.scale = tg.parameter(np.float32(2.0), role="scale")
        self.average = tg.tensor(np.zeros(2, np.float32))

    def forward(self, x):
        y = self.shared(self.shared(x))
        return self.scale * self.heads[0](y) + self.heads[1](y)


def test_parameters_are_found_named_and_counted_once():
    net = TwoBranches()
    assert [name for name, _ in net.named_parameters()] == [
        "scale", "shared.W", "shared.theta", "heads.0.W", "heads.0.theta", "heads.1.W", "heads.1.theta",
    ]  # fmt: skip
    assert "average" in net.state_dict()
    assert net.scale.name == "scale"


def test_tensors_know_the_module_and_the_call_they_were_made_in():
    net = TwoBranches()
    from tinygraph.autodiff import ancestors

    scopes = [
        (t.scope.path, t.scope.call)
        for t in ancestors([net(np.zeros((1, 3)))])
        if t.op is not None and t.op.name == "bias"
    ]
    assert scopes == [("shared", 1), ("shared", 2), ("heads.0", 1), ("heads.1", 1)]


def test_a_dense_layer_subtracts_its_bias():
    layer = nn.Dense(2, 1)
    layer.W.assign_(np.array([[2.0], [3.0]], np.float32))
    layer.theta.assign_(np.array([10.0], np.float32))
    assert layer(np.array([[1.0, 1.0]])).item() == -5
    assert nn.Dense(2, 1, bias=False).theta is None


def test_plain_arrays_take_the_parameters_dtype():
    assert fully_connected([3, 2])(np.zeros((1, 3))).dtype == np.float32
    assert fully_connected([3, 2], dtype=np.float64)(np.zeros((1, 3), np.float32)).dtype == np.float64


def test_an_activation_can_be_a_name_a_function_or_an_op_and_unknown_names_say_what_there_is():
    nn.Dense(2, 2, activation=lambda z: z * 2.0)(np.zeros((1, 2)))
    with pytest.raises(ArgumentError, match="activation 'rleu' is not known; known: identity, .*; did you mean 'relu'"):
        nn.Dense(2, 2, activation="rleu")
    with pytest.raises(ArgumentError, match="init 'xavier' is not known"):
        nn.Dense(2, 2, init="xavier")
    with pytest.raises(ArgumentError, match="n_out must be a whole number of at least 1, got 0"):
        nn.Dense(2, 0)
    with pytest.raises(ShapeError, match=r"changed the shape from \(1, 2\) to \(2,\)"):
        nn.Dense(2, 2, activation=lambda z: z.sum(0))(np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("init", "deviation", "bound"),
    [
        ("standard_normal", 1.0, np.inf),
        ("normal", 1 / np.sqrt(300), np.inf),
        ("uniform", 1 / np.sqrt(3 * 300), 1 / np.sqrt(300)),
        ("xavier_uniform", np.sqrt(2 / 500), np.sqrt(6 / 500)),
        ("xavier_normal", np.sqrt(2 / 500), np.inf),
        ("he_normal", np.sqrt(2 / 300), np.inf),
    ],
)
def test_initial_weights_have_the_stated_distribution(init, deviation, bound):
    W = nn.Dense(300, 200, init=init, seed=0).W.numpy().astype(float)
    assert abs(W.mean()) < 5 * deviation / np.sqrt(W.size)
    assert W.std() == pytest.approx(deviation, rel=0.01)  # the standard error is about 0.3 %
    assert np.abs(W).max() <= bound


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4)])
def test_orthogonal_weights_keep_lengths_and_every_turn_is_as_likely(shape):
    W = nn.Dense(*shape, init="orthogonal", seed=0, dtype=np.float64).W.numpy()
    products = W.T @ W if shape[0] >= shape[1] else W @ W.T
    np.testing.assert_allclose(products, np.eye(min(shape)), atol=1e-13)
    drawn = np.array([nn.Dense(*shape, init="orthogonal", seed=s, dtype=np.float64).W.numpy() for s in range(400)])
    assert np.abs(drawn.mean(0)).max() < 5 / np.sqrt(max(shape) * 400)  # an element's variance is 1 / max(shape)


def test_orthogonal_takes_stacks_of_matrices_and_no_biases():
    stack = nn.init.orthogonal(np.random.default_rng(0), (3, 6, 4), 6, 4)
    np.testing.assert_allclose(np.einsum("eij,eik->ejk", stack, stack), [np.eye(4)] * 3, atol=1e-13)
    with pytest.raises(ArgumentError, match=r"orthogonal: expected the shape of a matrix, got \(2,\)"):
        nn.Dense(2, 2, init_bias="orthogonal")


@pytest.mark.parametrize("dtype", [np.float64, "float32", np.float16, None])
def test_an_initialisation_can_be_a_function_of_ones_own(dtype):
    told = []

    def ramp(shape, rng, dtype):
        told.append((shape, dtype))
        return np.arange(np.prod(shape)).reshape(shape) + rng.integers(2)

    layer = nn.Dense(2, 3, init=ramp, init_bias=lambda shape, rng, dtype: [0.5] * 3, seed=4, dtype=dtype)
    expected = np.dtype(np.float64 if dtype is None else dtype)
    assert told == [((2, 3), expected)]
    assert layer.W.numpy().ravel().tolist() in ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    assert layer.theta.numpy().tolist() == [0.5] * 3
    assert layer.W.dtype == layer.theta.dtype == expected


def test_a_function_draws_what_the_name_draws_from_the_same_generator():
    def own(shape, rng, dtype):
        return rng.standard_normal(shape) / np.sqrt(shape[0])

    for build in (
        lambda init: fully_connected([4, 5, 3], init=init, seed=7),
        lambda init: autoencoder([6, 3, 6], init=init, seed=7),
        lambda init: nn.Sequential(nn.Dense(4, 3, init=init, seed=7)),
    ):
        for (path, a), (_, b) in zip(build(own).named_parameters(), build("normal").named_parameters(), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=path)


RING = [[(j - 1) % 6, j] for j in range(6)]


@pytest.mark.parametrize(
    "build",
    [
        lambda **o: nn.Dense(4, 3, **o),
        lambda **o: nn.Embedding(5, 3, **o),
        lambda **o: nn.MultiHeadAttention(4, 2, **o),
        lambda **o: nn.NeighborhoodDense(tg.Neighborhoods(RING, n_in=6), **o),
        lambda **o: fully_connected([4, 5, 3], batch_norm="hidden", **o),
        lambda **o: autoencoder([6, 3, 6], tied=True, **o),
        lambda **o: graph_neighborhood([RING, None], [6, 6, 2], **o),
        lambda **o: multitask([5, 3], tasks=2, n_in=4, **o),
        lambda **o: siamese([4, 3], "relation", relation_sizes=[3], **o),
        lambda **o: transfer(fully_connected([4, 3, 2], seed=0), [3, 2], **o),
    ],
)
def test_layers_and_builders_take_functions_where_they_take_names(build):
    given, named = (build(seed=7, init=init).parameters() for init in (nn.init.he_normal, "he_normal"))
    for a, b in zip(given, named, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_tensor_is_taken_from_a_function_as_well():
    layer = nn.Dense(2, 2, init=lambda shape, rng, dtype: tg.tensor(np.ones(shape, np.float32)), dtype=np.float64)
    assert layer.W.numpy().tolist() == [[1, 1], [1, 1]]
    assert layer.W.op is None


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        (
            np.zeros((2, 3)),
            ShapeError,
            r"init: own\(shape, rng, dtype\) must return an array of shape \(3, 2\), got \(2, 3\)",
        ),
        (1.0, ShapeError, r"must return an array of shape \(3, 2\), got \(\)"),
        (np.full((3, 2), np.nan), ArgumentError, "must return finite numbers, got infinite ones or NaN in float32"),
        ([[1e300, 0.0]] * 3, ArgumentError, "must return finite numbers"),
        (None, DTypeError, "expected numbers"),
    ],
)
def test_what_a_function_of_ones_own_returns_is_checked(values, error, text):
    def own(shape, rng, dtype):
        return values

    with pytest.raises(error, match=text):
        nn.Dense(3, 2, init=own)


def test_seeds_make_networks_repeatable_and_layers_different():
    a, b, c = (fully_connected([5, 5, 5], seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.layer1.W.numpy(), b.layer1.W.numpy())
    assert not np.array_equal(a.layer1.W.numpy(), c.layer1.W.numpy())
    assert not np.array_equal(a.layer1.W.numpy(), a.layer2.W.numpy())


def test_initial_weights_do_not_depend_on_what_was_built_before():
    tg.manual_seed(0)
    first = fully_connected([4, 3, 2], seed=5)
    nn.Dense(9, 9)
    np.testing.assert_array_equal(first.layer2.W.numpy(), fully_connected([4, 3, 2], seed=5).layer2.W.numpy())


def test_manual_seed_repeats_unseeded_draws():
    tg.manual_seed(3)
    a = nn.Dense(4, 4), nn.Dense(4, 4)
    tg.manual_seed(3)
    b = nn.Dense(4, 4), nn.Dense(4, 4)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.W.numpy(), y.W.numpy())
    assert not np.array_equal(a[0].W.numpy(), a[1].W.numpy())
    with pytest.raises(ArgumentError, match="seed: expected a whole number"):
        tg.manual_seed(-1)


def test_frozen_parameters_get_no_gradient():
    net = TwoBranches()
    net.shared.freeze()
    net(np.ones((2, 3))).sum().backward()
    assert net.shared.W.grad is None
    assert net.heads[0].W.grad is not None
    net.unfreeze()
    net(np.ones((2, 3))).sum().backward()
    assert net.shared.W.grad is not None


def test_modes_reach_every_module_and_predict_restores_them():
    net = fully_connected([3, 3, 2])
    net.layer1.eval()
    net.predict(np.zeros((1, 3)))
    assert (net.training, net.layer1.training, net.layer2.training) == (True, False, True)
    net.eval()
    assert not net.layer2.training


def test_state_survives_a_round_trip_and_is_a_copy():
    net = TwoBranches()
    state = net.state_dict()
    before = net.shared.W.numpy()
    net.shared.W.assign_(np.zeros((3, 3), np.float32))
    np.testing.assert_array_equal(state["shared.W"].numpy(), before)
    net.load_state_dict(state)
    np.testing.assert_array_equal(net.shared.W.numpy(), before)


def test_loading_checks_everything_before_it_writes():
    net, zeros = fully_connected([3, 2], seed=0), {"layer1.W": np.zeros((3, 2), np.float32)}
    before = net.layer1.W.numpy()
    with pytest.raises(ArgumentError, match=r"missing layer1\.theta; unknown other"):
        net.load_state_dict({**zeros, "other": np.zeros(1)})
    with pytest.raises(ShapeError, match=r"layer1\.theta has shape \(2,\), the value has \(3,\)"):
        net.load_state_dict({**zeros, "layer1.theta": np.zeros(3, np.float32)})
    with pytest.raises(DTypeError, match=r"layer1\.theta is float32, the value is float64"):
        net.load_state_dict({**zeros, "layer1.theta": np.zeros(2)})
    np.testing.assert_array_equal(net.layer1.W.numpy(), before)
    net.load_state_dict(zeros, strict=False)
    assert not net.layer1.W.numpy().any()


@pytest.mark.parametrize(
    ("output", "z", "decision"),
    [
        ("softmax", [[1.0, 3.0, 3.0]], [[0, 1, 0]]),
        ("sigmoid", [[-0.1, 0.0, 2.0]], [[0, 1, 1]]),
        ("tanh", [[-3.0, 0.0, 1.0]], [[-1, 1, 1]]),
        ("linear", [[-3.0, 0.5, 1.0]], [[-3.0, 0.5, 1.0]]),
    ],
)
def test_decisions_65_35_to_65_42(output, z, decision):
    net = nn.Sequential(lambda x: x, output=output)
    np.testing.assert_array_equal(net.decide(tg.tensor(z)).numpy(), decision)


@pytest.mark.parametrize(
    ("output", "z", "targets"),
    [
        ("softmax", [[np.nan, 0.0], [0.0, np.nan]], [[0, 0], [1, 1]]),
        ("softmax", [[np.nan, 0.0], [0.0, np.nan]], [[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2]),
        ("sigmoid", [[np.nan]], [[[0.0]], [[1.0]]]),
        ("tanh", [[np.nan]], [[[-1.0]], [[1.0]]]),
        ("linear", [[np.nan]], [[[0.0]]]),
    ],
)
def test_a_signal_that_is_nan_counts_as_a_wrong_decision(output, z, targets):
    for target in targets:
        wrong, known = nn.OUTPUTS[output].wrong(tg.tensor(z), tg.tensor(np.array(target)))
        assert wrong.numpy().all()
        assert known.numpy().all()


def test_a_decision_is_made_on_the_signal_not_on_its_rounded_activation():
    net = nn.Sequential(lambda x: x, output="sigmoid")
    z = tg.tensor(np.array([-1e-9], np.float32))
    assert (net.predict(z).item(), net.decide(z).item()) == (0.5, 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"eps": "a"}, "eps must be a finite number above 0, got 'a'"),
        ({"eps": np.inf}, "eps must be a finite number above 0, got inf"),
        ({"smoothing": "a"}, "smoothing must be at least 0 and below 1, got 'a'"),
        ({"a": None}, "a must be a finite number, got None"),
    ],
)
def test_batch_norm_checks_its_numbers(arguments, text):
    with pytest.raises(ArgumentError, match=f"^BatchNorm: {text}$"):
        nn.BatchNorm(3, **arguments)


def test_a_module_without_an_output_says_so():
    with pytest.raises(
        ArgumentError, match="has no output activation; set .output to one of softmax, sigmoid, tanh, linear"
    ):
        nn.Sequential(nn.Dense(2, 2)).predict(np.zeros((1, 2)))
    with pytest.raises(ArgumentError, match="output 'sofmax' is not known"):
        fully_connected([2, 2], output="sofmax")


def test_the_builder_checks_its_arguments():
    with pytest.raises(ArgumentError, match="at least input and output"):
        fully_connected([3])
    with pytest.raises(ArgumentError, match="one activation for each of the 1 hidden layers, got 2"):
        fully_connected([3, 3, 2], activation=["relu", "tanh"])
    net = fully_connected([3, 4, 4, 2], activation=["relu", "tanh"])
    assert [f.__name__ for f in (net.layer1.activation, net.layer2.activation)] == ["relu", "tanh"]
    assert repr(net).splitlines()[1] == "  layer1: Dense(3, 4, activation=relu)"


def test_a_network_passes_the_gradient_check(rng):
    for output, loss in (("softmax", losses.cross_entropy), ("linear", losses.squared_error)):
        net = fully_connected([3, 4, 2], "tanh", output, seed=0)
        assert tg.gradcheck(net, rng.normal(size=(5, 3)), np.eye(2)[[0, 1, 1, 0, 1]], loss) < 1e-8


def test_moving_to_another_backend_keeps_the_parameter_objects():
    with tg.using("numpy"):
        net = fully_connected([3, 2], seed=0)
    W = net.layer1.W
    net.to("strict")
    assert net.layer1.W is W
    assert W.backend.name == "strict"
    assert net(np.zeros((1, 3))).backend.name == "strict"
    assert net.to("numpy")(np.zeros((1, 3))).backend.name == "numpy"


def test_a_deep_copy_is_a_network_of_its_own_with_the_same_sharing():
    net = TwoBranches()
    net.again = net.shared.W
    twin = copy.deepcopy(net)
    assert twin.again is twin.shared.W is not net.shared.W
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(twin(x).numpy(), net(x).numpy())
    twin(x).sum().backward()
    assert net.shared.W.grad is None
    twin.shared.W.assign_(np.zeros((3, 3), np.float32))
    assert net.shared.W.numpy().any()
    with pytest.raises(GraphError, match="only leaves can be copied"):
        copy.deepcopy(net(x))
