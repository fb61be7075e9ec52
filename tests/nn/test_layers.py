"""What all layers do alike: gradients, compiled plans, saving, copies, backends, drawings, bad input; see `LAYERS`."""

import copy
import pickle

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.errors import ArgumentError, ShapeError

LAYERS = {  # the module, and the shape of its input without the batch; None: whole numbers below 5
    "layer norm": (lambda **o: nn.LayerNorm(4, a=1.5, init_bias="normal", **o), (3, 4), None),
    "embedding": (lambda **o: nn.Embedding(5, 3, **o), (6,), "int64"),
    "residual": (lambda **o: nn.Residual(nn.Dense(4, 4, "tanh", **o)), (4,), None),
    "residual with a shortcut": (
        lambda **o: nn.Residual(nn.Dense(4, 3, "tanh", **o), nn.Dense(4, 3, bias=False, **o)),
        (4,),
        None,
    ),
    "parallel": (lambda **o: nn.Parallel(nn.Dense(4, 2, **o), nn.Dense(4, 3, "relu", **o)), (4,), None),
    "parallel, multiplied": (
        lambda **o: nn.Parallel(nn.Dense(4, 3, **o), nn.Dense(4, 3, "sigmoid", **o), combine="multiply"),
        (4,),
        None,
    ),
    "attention": (lambda **o: nn.MultiHeadAttention(4, 2, init_bias="normal", **o), (3, 4), None),
    "causal attention": (lambda **o: nn.MultiHeadAttention(4, 2, causal=True, **o), (3, 4), None),
    "recurrent": (lambda **o: nn.Recurrent(nn.RecurrentCell(4, 2, init_bias="normal", **o)), (3, 4), None),
    "gated recurrent": (lambda **o: nn.Recurrent(nn.GRUCell(4, 2, init_bias="normal", **o), last=True), (3, 4), None),
    "convolution": (
        lambda **o: nn.Convolution(2, 3, (2, 3), "tanh", stride=(1, 2), padding=1, init_bias="normal", **o),
        (3, 4, 2),
        None,
    ),
    "attention to another sequence": (lambda **o: Crossed(**o), (5, 4), None),
}


class Crossed(nn.Module):
    """Attention of three positions to three columns of all but the last one, of which a mask takes some away."""

    def __init__(self, **options):
        self.attention = nn.MultiHeadAttention(4, 2, 3, **options)

    def forward(self, x):
        return self.attention(x[:, :3], x[..., 1:], x[:, :3, :1] < x[:, None, :, 0])


@pytest.fixture(params=LAYERS)
def layer(request):
    """The function that makes a layer, the shape of its input without the batch, and the input's dtype."""
    return LAYERS[request.param]


def numbers(shape, dtype, seed=0, wanted=np.float32):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(wanted) if dtype is None else rng.integers(0, 5, shape)


def test_gradients_agree_with_central_differences(layer):
    make, shape, dtype = layer
    net, x = make(seed=0), numbers((2, *shape), dtype, wanted=np.float64)
    assert tg.gradcheck(net, x, np.zeros(net(x).shape), losses.squared_error, second=True) < 1e-6


def test_a_compiled_step_is_the_eager_one(layer):
    make, shape, dtype = layer
    net = make(seed=0)

    def step(x):
        y = net(x)
        return [y, *tg.grad(tg.sum(y * y * 0.5 + y), net.parameters())]

    fast = tg.compile(step)
    for seed in range(3):
        x = tg.tensor(numbers((4, *shape), dtype, seed))
        for found, expected in zip(fast(x), step(x), strict=True):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-5, atol=1e-5)


def test_weights_are_saved_and_loaded(layer, tmp_path):
    make, shape, dtype = layer
    net, other = make(seed=0), make(seed=1)
    x = numbers((2, *shape), dtype)
    tg.save(tmp_path / "net.safetensors", net)
    tg.load(tmp_path / "net.safetensors", other)
    np.testing.assert_array_equal(other(x).numpy(), net(x).numpy())


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_copies_compute_the_same(layer, again):
    make, shape, dtype = layer
    net = make(seed=0)
    x = numbers((2, *shape), dtype)
    np.testing.assert_array_equal(again(net)(x).numpy(), net(x).numpy())


def test_seeds_repeat_and_dtypes_are_kept(layer):
    make, shape, dtype = layer
    a, b = make(seed=3, dtype=np.float64), make(seed=3, dtype=np.float64)
    for s, t in zip(a.parameters(), b.parameters(), strict=True):
        assert s.dtype == np.float64
        np.testing.assert_array_equal(s.numpy(), t.numpy())
    assert a(numbers((2, *shape), dtype, wanted=np.float64)).dtype == np.float64


@pytest.mark.host
def test_it_moves_to_another_backend(layer):
    make, shape, dtype = layer
    net = make(seed=0)
    x = numbers((2, *shape), dtype)
    expected = net(x).numpy()
    net.to("strict")
    assert {t.backend.name for _, t in net.named_tensors()} == {"strict"}
    np.testing.assert_allclose(net(tg.tensor(x).to("strict")).numpy(), expected, rtol=1e-6)


@pytest.mark.host
def test_it_is_drawn_from_a_shape(layer):
    make, shape, dtype = layer
    net = make(seed=0)
    graph = tg.graph(net, input_shape=(None, *shape), dtype=dtype)
    assert all(f"{tuple(t.shape)}" in graph.summary() for t in net.parameters())
    assert graph.to_dot().count("cylinder") == len(net.parameters())
    output = next(node for node in graph.nodes if node.is_output)
    assert output.shape == ("B", *net(numbers((2, *shape), dtype)).shape[1:])


@pytest.mark.host
def test_its_model_of_onnx_gives_the_same(layer, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    make, shape, dtype = layer
    net = make(seed=0)
    tg.export_onnx(net, tmp_path / "net.onnx", input_shape=(None, *shape), dtype=dtype)
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    for batch in (1, 4):
        x = numbers((batch, *shape), dtype, seed=batch)
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(found, net(x).numpy(), rtol=1e-5, atol=1e-6)


# -- each by itself -------------------------------------------------------------------------------------


def test_layer_norm_is_pytorchs(rng):
    torch = pytest.importorskip("torch")
    z, a, theta, weights = (rng.normal(size=s) for s in ((2, 3, 5), 5, 5, (2, 3, 5)))
    theirs = [torch.tensor(v, requires_grad=True) for v in (z, a, -theta)]
    expected = torch.nn.functional.layer_norm(theirs[0], (5,), *theirs[1:], 1e-6)
    (expected * torch.tensor(weights)).sum().backward()
    ours = [tg.tensor(v, requires_grad=True) for v in (z, a, theta)]
    found = tg.layer_norm(*ours)
    (found * weights).sum().backward()
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    for mine, other, sign in zip(ours, theirs, (1, 1, -1), strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), sign * other.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_layer_norm_of_equal_signals_is_the_shift(rng):
    layer = nn.LayerNorm(3, init_bias="normal", seed=0)
    np.testing.assert_array_equal(layer(np.full((2, 3), 1e6 + 0.1, np.float32)).numpy(), [-layer.theta.numpy()] * 2)


def test_layer_norm_in_half_precision_is_computed_in_single():
    z = np.array([[300.0, -300.0, 100.0, 7.0]], np.float16)  # whose squares half precision does not hold
    single = tg.layer_norm(z.astype(np.float32), np.ones(4, np.float32), np.zeros(4, np.float32)).numpy()
    half = tg.layer_norm(z, np.ones(4, np.float16), np.zeros(4, np.float16))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.numpy(), single, rtol=1e-3)


def test_layer_norm_checks_shapes():
    with pytest.raises(ShapeError, match=r"layer_norm: expected z \(..., n\), a \(n,\) .* got \(2, 3\), \(4,\)"):
        nn.LayerNorm(4)(np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="LayerNorm: n must be a whole number of at least 1, got 0"):
        nn.LayerNorm(0)
    with pytest.raises(ArgumentError, match="LayerNorm: eps"):
        nn.LayerNorm(3, eps=-1.0)


def test_gradients_of_the_rows_of_an_embedding_add_up():
    layer = nn.Embedding(4, 2, seed=0)
    weights = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2)
    (layer(np.array([[1, 1, 3], [3, 1, -1]])) * weights).sum().backward()
    expected = np.zeros((4, 2))
    for i, row in enumerate([[1, 1, 3], [3, 1, 3]]):
        for j, k in enumerate(row):
            expected[k] += weights[i, j]
    np.testing.assert_array_equal(layer.W.grad.numpy(), expected)


@pytest.mark.parametrize("wrap", [lambda f: f, tg.compile], ids=["eager", "compiled"])
def test_an_embedding_refuses_fractions_and_numbers_beyond_its_rows(wrap, backend):
    layer = nn.Embedding(4, 2, seed=0)
    look_up = wrap(lambda x: layer(x))
    look_up(tg.tensor([0, 3]))
    if backend == "numpy":  # nobody sees the content of indices on a device
        with pytest.raises(tg.IndexRangeError, match=r"index: 4 is outside axis 0 of shape \(4, 2\)"):
            look_up(tg.tensor([0, 4]))
    with pytest.raises(tg.DTypeError, match='Embedding: expected whole numbers below 4, got float32; .* dtype="int64"'):
        look_up(tg.tensor([0.0, 1.0]))


def test_an_embedding_is_trained_by_fit():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, (200, 5))
    Y = (X < 10).sum(1) > 2
    net = nn.Sequential(nn.Embedding(20, 4, seed=0), lambda y: tg.mean(y, 1), nn.Dense(4, 1, seed=0), output="sigmoid")
    history = tg.fit(
        net, losses.binary_cross_entropy, (X, Y[:, None]), tg.optim.Adam(net.parameters(), 0.05), 30, progress=False
    )
    assert history.rows[-1]["error"] < 0.1


def test_a_residual_whose_block_changes_the_shape_says_so():
    with pytest.raises(ShapeError, match=r"Residual: the block gives shape \(1, 3\), beside it is \(1, 1\), shortcut="):
        nn.Residual(nn.Dense(1, 3))(np.zeros((1, 1)))
    with pytest.raises(ArgumentError, match="Residual: block must be a module or a function, got 3"):
        nn.Residual(3)


def test_parallel_results_are_combined():
    x = tg.tensor([[1.0, 2.0]])
    parts = (lambda x: x + 1.0, lambda x: x * 10.0)
    assert nn.Parallel(*parts)(x).numpy().tolist() == [[2, 3, 10, 20]]
    assert nn.Parallel(*parts, combine="add")(x).numpy().tolist() == [[12, 23]]
    assert nn.Parallel(*parts, combine="multiply")(x).numpy().tolist() == [[20, 60]]
    assert nn.Parallel(*parts, combine=lambda results: results[1] - results[0])(x).numpy().tolist() == [[8, 17]]
    with pytest.raises(ArgumentError, match="combine 'sum' is not known; known: concatenate, add, multiply"):
        nn.Parallel(*parts, combine="sum")
    with pytest.raises(ArgumentError, match="Parallel: expected at least one module"):
        nn.Parallel()
    with pytest.raises(ArgumentError, match="Parallel: argument 1 must be a module or a function, got None"):
        nn.Parallel(nn.Dense(1, 1), None)


@pytest.mark.host
def test_modules_that_move_in_a_list_are_called_by_their_place():
    class Net(nn.Module):
        def __init__(self):
            self.blocks = [nn.Dense(4, 4), nn.Dense(4, 4)]
            self.same = self.blocks[0]

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.same(x)

    def boxes():
        return sorted(cluster.title for cluster in tg.graph(net, input_shape=(None, 4)).clusters)

    net = Net()
    net.blocks.insert(0, nn.Dense(4, 4))
    assert boxes() == ["blocks.0", "blocks.1 #1", "blocks.1 #2", "blocks.2"]
    del net.blocks[0]
    net.blocks.reverse()
    assert boxes() == ["blocks.0", "blocks.1 #1", "blocks.1 #2"]
    net.blocks[1](np.zeros((1, 4)))
    assert [name for name, _ in net.named_modules()] == ["", "blocks.0", "blocks.1"]


@pytest.mark.host
@pytest.mark.parametrize("dtype", ["int64", ("int64", "float32")])
def test_each_input_of_a_graph_has_its_dtype(dtype):
    graph = tg.graph(lambda i, x: tg.concatenate([i, x], 1), input_shape=((None, 2), (None, 3)), dtype=dtype)
    found = [node.dtype for node in graph.nodes if node.kind == "input"]
    assert found == (["int64", "float32"] if isinstance(dtype, tuple) else ["int64"] * 2)


@pytest.mark.host
def test_dtypes_of_inputs_are_checked():
    net = nn.Embedding(4, 2)
    with pytest.raises(ArgumentError, match="graph: input_shape has 1 inputs, dtype has 2"):
        tg.graph(net, input_shape=(None, 3), dtype=("int64", "int64"))
    with pytest.raises(tg.DTypeError, match="dtype 'int46' is not known"):
        tg.graph(net, input_shape=(None, 3), dtype="int46")
    with pytest.raises(ArgumentError, match="graph: dtype is that of the zeros of input_shape"):
        tg.graph(net, inputs=(np.zeros((3, 3), int),), dtype="int64")
