"""Layers on a grid against PyTorch's and against loops; see `test_layers` for what all layers do."""

import itertools

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.errors import ArgumentError, ShapeError

SIZES = [((3, 3), (1, 1), (0, 0)), ((3, 3), (1, 1), (1, 1)), ((2, 3), (2, 1), (1, 0)), ((1, 1), (2, 3), (0, 0))]
SIZES += [((4, 2), (3, 3), (2, 1)), ((5, 6), (1, 1), (0, 0))]


def squares(y, size, stride, padding, border=0.0):
    """The squares in a row, by loops."""
    y = np.pad(y, ((0, 0), *((p, p) for p in padding), (0, 0)), constant_values=border)
    rows, columns = ((n - k) // s + 1 for n, k, s in zip(y.shape[1:3], size, stride, strict=True))
    found = np.empty((len(y), rows, columns, size[0] * size[1] * y.shape[3]), y.dtype)
    for b, r, c in itertools.product(range(len(y)), range(rows), range(columns)):
        top, left = r * stride[0], c * stride[1]
        found[b, r, c] = y[b, top : top + size[0], left : left + size[1]].ravel()
    return found


@pytest.mark.parametrize(("size", "stride", "padding"), SIZES)
@pytest.mark.parametrize("wrap", [lambda f: f, tg.compile], ids=["eager", "compiled"])
def test_squares_are_those_of_loops(rng, size, stride, padding, wrap):
    y = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
    found = wrap(lambda y: tg.grid_neighborhoods(y, size, stride, padding, 7.0))(tg.tensor(y))
    np.testing.assert_array_equal(found.numpy(), squares(y, size, stride, padding, 7.0))


@pytest.mark.parametrize(("size", "stride", "padding"), SIZES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_of_squares_add_up_at_their_nodes(rng, size, stride, padding, dtype):
    y = tg.tensor(rng.normal(size=(2, 5, 6, 3)).astype(dtype), requires_grad=True)
    x = tg.grid_neighborhoods(y, size, stride, padding)
    weights = rng.integers(-4, 5, x.shape).astype(dtype)
    (x * weights).sum().backward()
    expected = np.zeros((2, 5 + 2 * padding[0], 6 + 2 * padding[1], 3))
    for b, r, c in itertools.product(*map(range, x.shape[:3])):
        top, left = r * stride[0], c * stride[1]
        expected[b, top : top + size[0], left : left + size[1]] += weights[b, r, c].reshape(*size, 3)
    inside = expected[:, padding[0] : padding[0] + 5, padding[1] : padding[1] + 6]
    assert y.grad.dtype == dtype
    np.testing.assert_array_equal(y.grad.numpy(), inside)


def run(torch, module, x):
    """PyTorch's result for images with their channels last, and the gradient of its elements times fixed weights."""
    s = torch.tensor(x, requires_grad=True)
    y = module(s.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    (y * torch.cos(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)).sum().backward()
    return y.detach().numpy(), s.grad.numpy()


def compare(torch, ours, theirs, x):
    a = tg.tensor(x, requires_grad=True)
    y = ours(a)
    (y * np.cos(np.arange(y.size)).reshape(y.shape)).sum().backward()
    for found, expected in zip((y.numpy(), a.grad.numpy()), run(torch, theirs, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("size", "stride", "padding"), SIZES)
def test_a_convolution_is_pytorchs(rng, size, stride, padding):
    torch = pytest.importorskip("torch")
    ours = nn.Convolution(3, 4, size, stride=stride, padding=padding, init_bias="normal", seed=0, dtype=np.float64)
    theirs = torch.nn.Conv2d(3, 4, size, stride, padding, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.W.numpy().reshape(*size, 3, 4).transpose(3, 2, 0, 1).copy()))
        theirs.bias.copy_(torch.tensor(-ours.theta.numpy()))
    compare(torch, ours, theirs, rng.normal(size=(2, 5, 6, 3)))
    slopes = theirs.weight.grad.numpy().transpose(2, 3, 1, 0).reshape(-1, 4)
    np.testing.assert_allclose(ours.W.grad.numpy(), slopes, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(ours.theta.grad.numpy(), -theirs.bias.grad.numpy(), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), ((1, 2), (2, 1), 0)],
)
def test_pools_are_pytorchs(rng, size, stride, padding):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 5, 6, 3))
    compare(torch, nn.MaxPool(size, stride, padding), torch.nn.MaxPool2d(size, stride, padding), x)
    compare(torch, nn.MeanPool(size, stride, padding), torch.nn.AvgPool2d(size, stride, padding), x)


def test_equal_signals_of_a_pool_share_the_gradient():
    y = tg.tensor(np.array([[1.0, 2.0], [2.0, 0.0]]).reshape(1, 2, 2, 1), requires_grad=True)
    nn.MaxPool(2)(y).sum().backward()
    assert y.grad.numpy().ravel().tolist() == [0, 0.5, 0.5, 0]


def test_a_convolution_is_a_layer_of_neighbourhoods_with_shared_weights(rng):
    edges = tg.Neighborhoods.grid((4, 5))
    sparse = nn.NeighborhoodDense(edges, seed=0, dtype=np.float64)
    conv = nn.Convolution(1, 1, 3, padding=1, init_bias="normal", seed=0, dtype=np.float64)
    across, down = edges.sources % 5 - edges.targets % 5 + 1, edges.sources // 5 - edges.targets // 5 + 1
    sparse.w.assign_(conv.W.numpy()[3 * down + across, 0])
    sparse.theta.assign_(np.full(20, conv.theta.item()))
    y = rng.normal(size=(3, 20))
    np.testing.assert_allclose(
        conv(y.reshape(3, 4, 5, 1)).numpy().reshape(3, 20), sparse(y).numpy(), rtol=1e-12, atol=1e-14
    )


def network(**options):
    return nn.Sequential(
        nn.Reshape(8, 8, 1),
        nn.Convolution(1, 6, 3, "relu", padding=1, seed=0, **options),
        nn.MaxPool(2),
        nn.Convolution(6, 12, 3, "relu", seed=1, **options),
        nn.Reshape(-1),
        nn.Dense(48, 10, seed=2, **options),
        output="softmax",
    )


@pytest.mark.parametrize("pool", [nn.MaxPool, nn.MeanPool])
def test_pools_are_compiled(rng, pool):
    layer = pool(2, 1, 1)

    def step(y):
        x = layer(y)
        return x, tg.grad(tg.sum(x * x), [y])[0]

    y = tg.tensor(rng.normal(size=(2, 3, 4, 2)).astype(np.float32), requires_grad=True)
    for found, expected in zip(tg.compile(step)(y), step(y), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.host
def test_the_digits_are_learned():
    net, digits = network(), data.load("digits")
    tg.fit(net, losses.cross_entropy, digits.train, optim.Adam(net.parameters(), 5e-3), 6, progress=False)
    assert tg.metrics.error_rate(net.decide(digits.test[0]), digits.test[1]) < 0.08


@pytest.mark.host
def test_the_picture_shows_the_product():
    found = {node.label: node.shape for node in tg.graph(network(), input_shape=(None, 64)).nodes if node.kind == "op"}
    assert found["grid_neighborhoods(3 x 3)"] == ("B", 2, 2, 54)
    assert found["matmul"] == ("B", 10)
    assert "grid_neighborhoods(2 x 2, stride 2 x 2)" in found


@pytest.mark.host
def test_its_model_of_onnx_gives_the_same(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    net = network()
    tg.export_onnx(net, tmp_path / "net.onnx", input_shape=(None, 64))
    x = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    (found,) = runtime.InferenceSession(tmp_path / "net.onnx").run(None, {"x": x})
    np.testing.assert_allclose(found, net.predict(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: nn.Convolution(1, 2, 0),
            ArgumentError,
            "Convolution: size must be a whole number of at least 1",
        ),
        (lambda: nn.Convolution(0, 2), ArgumentError, "Convolution: n_in must be a whole number of at least 1, got 0"),
        (
            lambda: nn.Convolution(1, 2, stride=(1, 2, 3)),
            ArgumentError,
            "stride must be one whole number or two",
        ),
        (lambda: nn.MaxPool(2, padding=-1), ArgumentError, "MaxPool: padding must be a whole number of at least 0"),
        (lambda: nn.MeanPool(1.5), ArgumentError, "MeanPool: size must be a whole number"),
        (
            lambda: nn.Convolution(1, 2)(np.zeros((2, 8, 8))),
            ShapeError,
            r"Convolution: expected y \(B, rows, columns, 1\), channels last, got shape \(2, 8, 8\)",
        ),
        (
            lambda: nn.Convolution(1, 2, 3)(np.zeros((2, 2, 8, 1))),
            ShapeError,
            "a square of 3 x 3 does not fit a grid of 2 x 8",
        ),
        (lambda: nn.Convolution(1, 2)(np.zeros((2, 8, 8, 3))), ShapeError, "channels last, got shape"),
        (lambda: nn.Reshape(2.5), ShapeError, "Reshape: a shape is whole numbers"),
        (lambda: nn.Reshape(3)(np.zeros((2, 4))), ShapeError, "do not fill"),
    ],
)
def test_wrong_arguments_are_told(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_padding_alone_is_no_square():
    with pytest.raises(tg.ArgumentError, match="MaxPool: padding must be smaller than the squares"):
        nn.MaxPool(2, padding=2)


def test_channels_come_last():
    with pytest.raises(tg.ShapeError, match=r"Convolution: expected y \(B, rows, columns, 3\), channels last, got"):
        nn.Convolution(3, 4)(np.ones((2, 3, 5, 5), np.float32))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.MaxPool(2), (0, 4, 4, 1), (0, 2, 2, 1)),
        (nn.MeanPool(2), (0, 4, 4, 3), (0, 2, 2, 3)),
        (nn.Reshape(-1), (0, 2, 3), (0, 6)),
        (nn.Reshape(3, -1), (0, 2, 3), (0, 3, 2)),
        (nn.MultiHeadAttention(4, 2), (0, 3, 4), (0, 3, 4)),
        (nn.Recurrent(nn.GRUCell(3, 2), last=False), (0, 4, 3), (0, 4, 2)),
    ],
)
def test_an_empty_batch_gives_an_empty_batch(layer, shape, expected):
    layer.to(tg.backend.current().name)
    assert layer(tg.zeros(shape)).shape == expected
