"""Attention in several heads against PyTorch's, and what masks do; see `test_layers` for what all layers do."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import ArgumentError, DTypeError, ShapeError

N, HEADS, T, S = 6, 3, 4, 5


def pytorchs(torch, layer):
    """PyTorch's layer with the same weights; there the bias is added, and the weights of q, k and v are transposed."""
    n, n_context = layer.query.W.shape[0], layer.key.W.shape[0]
    theirs = torch.nn.MultiheadAttention(
        n, layer.heads, kdim=n_context, vdim=n_context, batch_first=True, dtype=torch.float64
    )
    layers = [layer.query, layer.key, layer.value]
    weights = [torch.tensor(x.W.numpy().T.copy()) for x in layers]
    with torch.no_grad():
        if n_context == n:
            theirs.in_proj_weight.copy_(torch.cat(weights))
        else:
            for name, weight in zip("qkv", weights, strict=True):
                getattr(theirs, f"{name}_proj_weight").copy_(weight)
        theirs.in_proj_bias.copy_(torch.tensor(-np.concatenate([x.theta.numpy() for x in layers])))
        theirs.out_proj.weight.copy_(torch.tensor(layer.join.W.numpy().T.copy()))
        theirs.out_proj.bias.copy_(torch.tensor(-layer.join.theta.numpy()))
    return theirs


@pytest.mark.parametrize("n_context", [None, 7], ids=["self", "cross"])
@pytest.mark.parametrize("mask", [None, "causal", "one", "of each sample"])
def test_it_is_pytorchs(rng, n_context, mask):
    torch = pytest.importorskip("torch")
    layer = nn.MultiHeadAttention(
        N, HEADS, n_context, causal=mask == "causal", init_bias="normal", seed=0, dtype=np.float64
    )
    x = rng.normal(size=(2, T, N))
    context = x if n_context is None else rng.normal(size=(2, S, n_context))
    length = context.shape[1]
    may = {
        "causal": np.arange(length) <= np.arange(T)[:, None],
        "one": rng.random((T, length)) < 0.6,
        "of each sample": rng.random((2, T, length)) < 0.6,
    }.get(mask)
    if may is not None:
        may[..., 0] = True
    a = tg.tensor(x, requires_grad=True)
    b = a if n_context is None else tg.tensor(context, requires_grad=True)
    found = layer(a, None if n_context is None else b, mask=None if mask == "causal" else may)
    (found * np.cos(np.arange(found.size)).reshape(found.shape)).sum().backward()

    theirs = pytorchs(torch, layer)
    s = torch.tensor(x, requires_grad=True)
    t = s if n_context is None else torch.tensor(context, requires_grad=True)
    hidden = None if may is None else torch.tensor(~np.repeat(np.broadcast_to(may, (2, T, length)), HEADS, 0))
    expected, _ = theirs(s, t, t, attn_mask=hidden)
    (expected * torch.cos(torch.arange(expected.numel(), dtype=torch.float64)).reshape(expected.shape)).sum().backward()

    def compare(mine, other):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)

    compare(found.numpy(), expected.detach().numpy())
    compare(a.grad.numpy(), s.grad.numpy())
    compare(b.grad.numpy(), t.grad.numpy())
    compare(layer.join.W.grad.numpy().T, theirs.out_proj.weight.grad.numpy())
    bias = np.concatenate([x.theta.grad.numpy() for x in (layer.query, layer.key, layer.value)])
    compare(bias, -theirs.in_proj_bias.grad.numpy())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_may_attend_to_nothing_gets_zeros_and_passes_none_back(dtype):
    layer = nn.MultiHeadAttention(N, HEADS, causal=True, seed=0, dtype=dtype)
    x = tg.tensor(np.random.default_rng(0).normal(size=(1, 3, N)).astype(dtype), requires_grad=True)
    mask = np.array([[False, True, True], [True, True, False], [False, False, False]])
    y = layer(x, mask=mask)
    np.testing.assert_array_equal(y.numpy()[0, [0, 2]], np.zeros((2, N)))
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    np.testing.assert_array_equal(x.grad.numpy()[0, 2], np.zeros(N))


def test_a_causal_position_does_not_depend_on_later_ones(rng):
    layer = nn.MultiHeadAttention(N, HEADS, causal=True, seed=0)
    x = rng.normal(size=(1, T, N)).astype(np.float32)
    changed = x.copy()
    changed[0, 2:] += 1
    np.testing.assert_array_equal(layer(x).numpy()[0, :2], layer(changed).numpy()[0, :2])
    assert not np.allclose(layer(x).numpy()[0, 2:], layer(changed).numpy()[0, 2:])


def test_compiled_it_takes_batches_and_masks_of_any_length(rng):
    layer = nn.MultiHeadAttention(N, HEADS, causal=True, seed=0)
    fast = tg.compile(lambda x, mask: layer(x, mask=mask))
    for batch, length in ((2, 4), (3, 4), (2, 5)):
        x = tg.tensor(rng.normal(size=(batch, length, N)).astype(np.float32))
        mask = tg.tensor(rng.random((batch, 1, length)) < 0.7)
        np.testing.assert_allclose(fast(x, mask).numpy(), layer(x, mask=mask).numpy(), rtol=1e-5, atol=1e-6)


def test_its_layers_start_differently_and_repeat_by_the_seed():
    a, b = (nn.MultiHeadAttention(N, HEADS, seed=1) for _ in range(2))
    np.testing.assert_array_equal(a.value.W.numpy(), b.value.W.numpy())
    assert not np.array_equal(a.query.W.numpy(), a.key.W.numpy())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.MultiHeadAttention(6, 4), ArgumentError, "n must be a multiple of heads, got 6 nodes and 4 heads"),
        (lambda: nn.MultiHeadAttention(6, 0), ArgumentError, "heads must be a whole number of at least 1, got 0"),
        (
            lambda: nn.MultiHeadAttention(4, 2)(np.zeros((3, 4))),
            ShapeError,
            r"expected x \(B, length, 4\), got .*\(3, 4\)",
        ),
        (
            lambda: nn.MultiHeadAttention(4, 2, 3)(np.zeros((1, 3, 4))),
            ShapeError,
            r"expected context \(B, length, 3\), got shape \(1, 3, 4\)",
        ),
        (
            lambda: nn.MultiHeadAttention(4, 2)(np.zeros((2, 3, 4)), mask=np.ones((2, 3), bool)),
            ShapeError,
            r"expected a mask \(3, 3\) or \(2, 3, 3\), got \(2, 3\)",
        ),
        (
            lambda: nn.MultiHeadAttention(4, 2)(np.zeros((2, 3, 4)), mask=np.ones((3, 3))),
            DTypeError,
            "expected a mask of truth values, got float64",
        ),
        (lambda: tg.causal_mask(np.zeros(3)), ShapeError, r"causal_mask: expected a matrix .*, got shape \(3,\)"),
    ],
)
def test_wrong_arguments_are_told(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_causal_mask_is_a_lower_triangle():
    for shape in ((3, 3), (2, 4), (5, 4, 2)):
        expected = np.tril(np.ones(shape[-2:], bool))
        np.testing.assert_array_equal(tg.causal_mask(np.zeros(shape)).numpy(), expected)
