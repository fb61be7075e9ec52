"""Networks exported to ONNX give in onnxruntime what they give here."""

import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, models, nn, ops, optim
from tinygraph.errors import ArgumentError, DataError, GraphError
from tinygraph.nn.layers import ACTIVATIONS
from tinygraph.nn.outputs import OUTPUTS
from tinygraph.onnx_operations import OPERATIONS
from tinygraph.ops.neighborhood import Neighborhoods

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.host
LISTS = [[0, 1], [1, 2, 3], [], [0, 3]]
TO_FOUR, TO_THREE = Neighborhoods(LISTS), Neighborhoods([[0, 1], [1, 2, 3], [3]])


def exported(net, path, shape, **options):
    """Export; return a function that runs the model on arrays, and gives all its outputs."""
    tg.export_onnx(net, path, input_shape=shape, **options)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path)
    return lambda *arrays: session.run(None, {i.name: x for i, x in zip(session.get_inputs(), arrays, strict=True)})


def here(net, arrays, prediction=True):
    """Return what the network gives here, in evaluation mode."""
    if not isinstance(net, nn.Module):
        found = net(*(tg.tensor(x) for x in arrays))
    elif prediction and net.output is not None:
        found = net.predict(*arrays)
    else:
        with net._in_mode(False):
            found = net(*arrays)
    return [t.numpy() for t in (found if isinstance(found, list | tuple) else [found])]


def compare(net, path, shape, dtype=np.float32, tolerance=1e-5, **options):
    run = exported(net, path, shape, **options)
    shapes = shape if isinstance(shape[0], tuple) else [shape]
    for batch in (1, 4, 17):
        rng = np.random.default_rng(batch)
        arrays = [rng.normal(size=[batch if n is None else n for n in s]).astype(dtype) for s in shapes]
        for found, expected in zip(run(*arrays), here(net, arrays, **options), strict=True):
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


# -- networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("prediction", [True, False])
def test_fully_connected_networks(path, activation, prediction):
    net = models.fully_connected([6, 8, 5, 3], activation, batch_norm=True, dropout=0.2, init_bias="normal", seed=0)
    rng = np.random.default_rng(0)
    X, L = rng.normal(size=(40, 6)).astype(np.float32), rng.integers(0, 3, 40)
    tg.fit(net, losses.cross_entropy, (X, L), optim.SGD(net.parameters(), 0.1), 3, progress=False)
    before = {name: t.numpy() for name, t in net.named_tensors()}
    compare(net, path, (None, 6), prediction=prediction)
    assert net.training
    for name, t in net.named_tensors():
        np.testing.assert_array_equal(t.numpy(), before[name])


@pytest.mark.parametrize("output", OUTPUTS)
def test_all_output_activations(path, output):
    compare(models.fully_connected([6, 4, 3], output=output, seed=0), path, (None, 6))


def autoencoders():
    for tied in (False, True):
        yield pytest.param(models.autoencoder([6, 4, 6], tied, denoise=0.1, seed=0), (None, 6), id=f"tied={tied}")


def siamese():
    for head, more in (("cosine", {}), ("absolute_difference", {}), ("relation", {"relation_sizes": [5]})):
        yield pytest.param(models.siamese([6, 5, 4], head, seed=0, **more), ((None, 6), (None, 6)), id=head)


NODES = ["relu", "tanh", "elu", "sigmoid"]
BUILT = [
    *autoencoders(),
    *siamese(),
    pytest.param(models.multitask([5, 4], 3, 6, seed=0), (None, 6), id="multitask"),
    pytest.param(
        models.graph_neighborhood([LISTS, Neighborhoods(LISTS), None], [4, 4, 4, 2], seed=0), (None, 4), id="graph"
    ),
    pytest.param(
        models.transfer(models.fully_connected([6, 5, 4, 3], seed=0), [4, 2], seed=1), (None, 6), id="transfer"
    ),
    pytest.param(models.fully_connected([6, 4, 3], [NODES], seed=0), (None, 6), id="nodes"),
]


@pytest.mark.parametrize(("net", "shape"), BUILT)
@pytest.mark.parametrize("prediction", [True, False])
def test_every_builder(path, net, shape, prediction):
    compare(net, path, shape, prediction=prediction)


def test_double_precision_and_a_batch_of_one_length(path):
    compare(models.fully_connected([6, 5, 3], "tanh", seed=0, dtype=np.float64), path, (None, 6), np.float64, 1e-12)
    net = models.fully_connected([6, 5, 3], seed=0)
    run = exported(net, path, (4, 6))
    x = np.ones((4, 6), np.float32)
    np.testing.assert_allclose(run(x)[0], net.predict(x).numpy(), rtol=1e-5)


def test_names_are_those_of_the_network(path):
    exported(models.fully_connected([6, 5, 3], seed=0), path, (None, 6))
    graph = onnx.load(path).graph
    assert [v.name for v in (*graph.input, *graph.output)] == ["x", "prediction"]
    assert [d.dim_param or d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == ["B", 3]
    assert {"layer1.W", "layer1.theta", "layer2.W", "layer2.theta"} <= {i.name for i in graph.initializer}
    assert graph.node[0].name == "layer1.MatMul"


def test_several_outputs_are_numbered(path):
    class Two(nn.Module):
        output = "sigmoid"

        def __init__(self):
            self.one, self.other = nn.Dense(6, 3, seed=0), nn.Dense(6, 2, seed=1)

        def forward(self, x):
            return self.one(x), self.other(x)

    net, x = Two(), np.ones((2, 6), np.float32)
    found = exported(net, path, (None, 6))(x)
    assert [v.name for v in onnx.load(path).graph.output] == ["prediction1", "prediction2"]
    for a, z in zip(found, net(x), strict=True):
        np.testing.assert_allclose(a, tg.sigmoid(z).numpy(), rtol=1e-5)
    compare(net, path, (None, 6), prediction=False)


# -- operations ---------------------------------------------------------------------------------------

ROWS = np.array([2, 0, 0, 1])
C = np.random.default_rng(3).normal(size=6).astype(np.float32)
OF_ONE = {
    "arithmetic": lambda x: (x + C) * 2.0 - x / (x * x + 1.0),
    "power": lambda x: (x * x + 0.5) ** C,
    "extrema": lambda x: tg.maximum(tg.minimum(x, C), -0.5),
    "logarithm": lambda x: tg.log(tg.exp(x) + tg.sqrt(tg.abs(x))),
    "waves": lambda x: [tg.sin(x), tg.cos(x * 3.0), tg.expm1(x), tg.log1p(tg.square(x)), tg.log1p(tg.tanh(x) * 0.9)],
    "close to zero": lambda x: [tg.expm1(x * 1e-6) * 1e6, tg.log1p(x * 1e-6) * 1e6, tg.expm1(x * 20.0) * 1e-30],
    "signs": lambda x: tg.sign(x) + tg.square(-x) + tg.erf(x),
    "clip": lambda x: [tg.clip(x, -0.3, 0.4), tg.clip(x, low=0.1), tg.clip(x, high=0.1), tg.clip(x, C - 1, C)],
    "gate": lambda x: tg.gate(x, x - 0.2),
    "divide_or_zero": lambda x: tg.divide_or_zero(x, tg.relu(x)),
    "subtract_scaled": lambda x: ops.elementwise.subtract_scaled(x, 0.3, x * x),
    "comparisons": lambda x: [x < C, x <= 0.0, x > C, x >= 0.0, tg.equal(x, x), tg.not_equal(x, 0.0)],
    "truth values": lambda x: [
        (x > 0) * (x < 1),
        (x > 0) + (x < -1),
        tg.maximum(x > 0, x < -1),
        tg.abs(x > 0),
    ],
    "logic": lambda x: [(x > 0) & (x < 1), (x > 0) | (x < -1), (x > 0) ^ (x < 1), ~(x > 0), tg.mean(x > 0, 1)],
    "choices": lambda x: tg.where(x > 0, x, -1.0),
    "whole numbers": lambda x: [tg.argmax(x), tg.argmin(x, 0), (x > 0).sum(0), (x > 0).astype(np.int32).sum(1)],
    "activations": lambda x: [f(x) for f in ACTIVATIONS.values()],
    "slopes": lambda x: [tg.two_sided_relu(x, 1.7), tg.leaky_relu(x, 0.2), tg.elu(x, 0.5), tg.scaled_tanh(x, 2.0, 0.3)],
    "softmax": lambda x: [tg.softmax(x), tg.softmax(x, 0), tg.log_softmax(x), tg.log_softmax(x, axis=0)],
    "reductions": lambda x: [
        f(x, a, k) for f in (tg.sum, tg.prod, tg.mean, tg.max, tg.min) for a in (None, 0, -1) for k in (0, 1)
    ],
    "norms": lambda x: [tg.norm(x, 1), tg.norm(x), tg.norm(x, 0, keepdims=True), tg.sum(x, ())],
    "log-sum-exp": lambda x: [tg.logsumexp(x * 100.0), tg.logsumexp(x, 0), tg.logsumexp(x, -1, keepdims=True)],
    "running sums": lambda x: [tg.cumsum(x), tg.cumsum(x, 0), tg.cumsum(x, -1), tg.cumsum(x > 0, 1)],
    "variance": lambda x: tg.var(x, 1, ddof=1),
    "shapes": lambda x: [x.reshape(-1), x.reshape((-1, 2, 3)), x.T, x.reshape((len(x), 3, 2)).transpose((2, 0, 1))],
    "more shapes": lambda x: [tg.broadcast_to(x.reshape((-1, 1, 6)), (len(x), 3, 6)), x.reshape((len(x) * 2, 3))],
    "axes": lambda x: [
        tg.swapaxes(x.reshape((-1, 2, 3)), 0, -1),
        tg.expand_dims(x, (1, -1)),
        tg.squeeze(x.reshape((-1, 1, 6, 1)), (1, -1)),
        tg.flatten(x.reshape((-1, 2, 3)), 1),
    ],
    "triangles": lambda x: [tg.tril(x), tg.tril(x, 1), tg.triu(x, -1), tg.triu(x.reshape((-1, 2, 3)))],
    "contractions": lambda x: [
        tg.einsum("bi,bj->bij", x, x),
        tg.einsum("bi,i,bj->j", x, C, x),
        tg.einsum("bij,bkj->bik", x.reshape((-1, 2, 3)), x.reshape((-1, 2, 3))),
        tg.einsum("...i,ij->...j", x.reshape((-1, 2, 3)), np.eye(3, 2, dtype=np.float32)),
        tg.einsum("bii->b", tg.einsum("bi,bj->bij", x, x)),
    ],
    "lengths": lambda x: [tg.broadcast_to(C, x.shape), x.reshape((1, len(x), 2, 3)), x + np.zeros(x.shape, np.float32)],
    "joined": lambda x: [tg.concatenate([x, -x]), tg.stack([x, x], axis=1), *tg.split(x, 3, axis=1)],
    "padded": lambda x: [
        tg.pad(x, ((0, 0), (1, 2))),
        tg.pad(x, 1, 0.5),
        tg.pad(tg.concatenate([x, x]), ((2, 0), (0, 0))),
    ],
    "slices": lambda x: [
        x[:, 1:4],
        x[:, ::-1],
        x[:, -2:],
        x[:, 4:1:-2],
        x[..., 0],
        x[:, None, 2],
        x[::2],
        x[:1],
        x[1:],
    ],
    "more slices": lambda x: [x[0], x[-1, 1:], x[:3], x[: len(x)], x[len(x) - 1], x[None, ..., None], x[0, 0], x[:-1]],
    "rows": lambda x: [
        tg.take(x, ROWS % 1),
        tg.take(x, ROWS, axis=1),
        x[:, ROWS],
        x[..., ROWS[:2, None] - 1],
        x[:, None, ROWS],
    ],
    "orders": lambda x: [
        *(tg.argsort(x), tg.sort(x, 0), tg.sort(x, None, descending=True), tg.argsort(x > 0, 1)),
        *tg.topk(x, 2),
        *tg.topk(x, 1, 0, largest=False),
        tg.take_along_axis(x, tg.argsort(-x, 0)[::-1], 0),
    ],
    "picked": lambda x: tg.take(tg.tensor(C), tg.argmax(x)),
    "products": lambda x: [x @ np.eye(6, 4, dtype=np.float32), x @ x.T, x.T @ x, C @ x.T, x @ C, tg.sum(x[0] @ C)],
    "stacks": lambda x: x.reshape((-1, 2, 3)) @ x.reshape((-1, 3, 2)),
    "transposed products": lambda x: ops.products.MatMul(True, True)(x, np.ones((4, len(x)), np.float32)),
    "bias": lambda x: tg.bias(x, C),
    "batch norm": lambda x: tg.batch_norm(tg.concatenate([x, x + 1]), C, -C),
    "batch norm, population": lambda x: tg.batch_norm(tg.concatenate([x, x + 1]), C, -C, ddof=0),
    "layer norm": lambda x: tg.layer_norm(x, C, -C),
    "squares": lambda x: tg.grid_neighborhoods(x.reshape(-1, 2, 3, 1), 2, (1, 2), 1),
    "causal mask": lambda x: tg.where(tg.causal_mask(x[0].reshape(2, 3)), 1.0, x[:, :3].reshape(-1, 1, 3)),
    "masks": lambda x: tg.mask(x, (C > 0).astype(np.float32)),
    "one-hot": lambda x: [ops.indexing.OneHot(n, "float32")(tg.argmax(x) - 1) for n in (6, 3)],
    "similarity": lambda x: tg.cosine_similarity(x, x[:, ::-1]),
    "edges": lambda x: tg.neighborhood_matmul(x[:, :4], C, TO_THREE),
    "edges, back": lambda x: ops.neighborhood.NeighborhoodMatMul(TO_THREE, True)(x[:, :3], C),
    "edge products": lambda x: ops.neighborhood.EdgeProduct(TO_FOUR)(x[:, :4], x[:, 2:]),
    "copies": lambda x: [ops.elementwise.copied(x), tg.identity(x), x],
}


@pytest.mark.parametrize("name", OF_ONE)
def test_operations(path, name):
    compare(OF_ONE[name], path, (None, 6))


def test_every_operation_that_is_known_is_tested(path, monkeypatch):
    """All of the table, counted where they are applied."""
    applied = set()
    call = tg.Op.__call__
    monkeypatch.setattr(tg.Op, "__call__", lambda op, *inputs: applied.add(type(op)) or call(op, *inputs))
    for function in OF_ONE.values():
        function(tg.tensor(np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)))
    assert set(OPERATIONS) <= applied


STEPS = [
    lambda x, rng: tg.tanh(x),
    lambda x, rng: tg.softmax(x, int(rng.integers(x.ndim))),
    lambda x, rng: tg.relu(x) - tg.mean(x, -1, keepdims=True),
    lambda x, rng: x * rng.normal(size=x.shape[-1]).astype(np.float32),
    lambda x, rng: x @ rng.normal(size=(x.shape[-1], 4)).astype(np.float32),
    lambda x, rng: x[..., ::-1] + x,
    lambda x, rng: tg.concatenate([x, tg.square(x)], axis=-1),
    lambda x, rng: x[..., : max(1, x.shape[-1] - 1)],
    lambda x, rng: tg.where(x > 0.1, x, tg.sigmoid(x)),
    lambda x, rng: x.reshape((len(x), -1)),
    lambda x, rng: x.reshape((len(x), 1, -1)),
    lambda x, rng: x / (1.0 + tg.norm(x, -1, keepdims=True)),
    lambda x, rng: tg.take(x, rng.integers(0, x.shape[-1], 3), axis=x.ndim - 1),
    lambda x, rng: tg.stack([x, tg.clip(x, -1, 1)], axis=1),
    lambda x, rng: x + tg.max(x, 0),
    lambda x, rng: tg.broadcast_to(tg.sum(x, -1, keepdims=True), x.shape) * 0.1,
]


@pytest.mark.parametrize("seed", range(25))
def test_random_compositions(path, seed):
    chosen = np.random.default_rng(seed).integers(0, len(STEPS), 8)

    def compose(x):
        values = [x]
        for i, step in enumerate(chosen):
            values.append(STEPS[step](values[-1], np.random.default_rng([seed, i])))
        return values[-1], tg.sum(values[len(values) // 2])

    compare(compose, path, (None, 5), tolerance=1e-4)


# -- what cannot be exported ----------------------------------------------------------------------------


def test_an_operation_that_onnx_does_not_know_is_named(path):
    class Cube(tg.Op):
        rule = "dx = 3 dy x**2"

        def forward(self, xp, x, out=None):
            return x * x * x

    class Net(nn.Module):
        def __init__(self):
            self.inner = nn.Sequential(nn.Dense(6, 3, seed=0), Cube())

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(GraphError, match=r"export_onnx: cube in inner.*: ONNX has no such operation"):
        tg.export_onnx(Net(), path, input_shape=(None, 6))
    drawn = nn.Sequential(nn.Dense(6, 3, seed=0), lambda y: tg.mask(y, tg.bernoulli(0.5, y.shape)))
    for net in (drawn, lambda x: x + tg.normal(x.shape), lambda x: x * tg.uniform(x.shape)):
        with pytest.raises(
            GraphError, match=r"(bernoulli|normal|uniform).*: a model gives the same .* in training only"
        ):
            tg.export_onnx(net, path, input_shape=(None, 6))
    with pytest.raises(GraphError, match="squared_error"):
        tg.export_onnx(losses.squared_error, path, input_shape=((None, 6), (None, 6)))
    assert not path.exists()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: x.detach() * 2.0, "read on the way"),
        (lambda x: x * float(x.sum()), "read on the way"),
        (lambda x: tg.tensor(x.numpy()), "read on the way"),
        (lambda x: x * (1.0 / len(x)), "read on the way"),
        (lambda x: x if len(x) > 2 else -x, "other operations"),
        (lambda x: x.reshape((1, -1)) @ np.ones((6 * len(x), len(x) ** 2), np.float32), "no multiple of the batch"),
        (lambda x: x[x > 0], "a length is|only one of whole numbers"),
        (lambda x: x[0, ROWS], "only one of whole numbers"),
        (lambda x: x[: len(x) // 2 + 1], "its settings change with the batch"),
        (lambda x: 3, "expected a tensor or a sequence of tensors from a call, got int"),
    ],
)
def test_what_a_model_cannot_follow_is_told(path, function, text):
    with pytest.raises((GraphError, ArgumentError), match=f"^export_onnx: .*({text})") as error:
        tg.export_onnx(function, path, input_shape=(None, 6))
    assert "\n" not in str(error.value)
    assert not path.exists()


def test_wrong_arguments(path, tmp_path, monkeypatch):
    net = models.fully_connected([6, 3], seed=0)
    with pytest.raises(ArgumentError, match="export_onnx: input_shape must be a tuple"):
        tg.export_onnx(net, path, input_shape=(6, None))
    with pytest.raises(ArgumentError, match="export_onnx: expected a module or a function, got a str"):
        tg.export_onnx("net.onnx", net, input_shape=(None, 6))
    with pytest.raises(DataError, match="cannot write"):
        tg.export_onnx(net, tmp_path / "no" / "net.onnx", input_shape=(None, 6))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ArgumentError, match=r'needs the package onnx .*pip install "tinygraph\[onnx\]"'):
        tg.export_onnx(net, path, input_shape=(None, 6))
