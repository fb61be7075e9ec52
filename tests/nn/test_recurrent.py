"""Recurrent cells against PyTorch's, and how they are drawn; see `test_layers` for what all layers do."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.errors import ArgumentError, ShapeError

N_IN, N, T = 3, 4, 5


def elman(torch, cell):
    """PyTorch's cell with the same weights; there two biases are added, and weights are transposed."""
    theirs = torch.nn.RNNCell(N_IN, N, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih.copy_(torch.tensor(cell.W.numpy().T.copy()))
        theirs.weight_hh.copy_(torch.tensor(cell.U.numpy().T.copy()))
        theirs.bias_ih.copy_(torch.tensor(-cell.theta.numpy()))
        theirs.bias_hh.zero_()
    return theirs, {"W": theirs.weight_ih, "U": theirs.weight_hh, "theta": theirs.bias_ih}


def gated(torch, cell):
    theirs = torch.nn.GRUCell(N_IN, N, dtype=torch.float64)
    with torch.no_grad():
        for name, layer in (("ih", cell.of_input), ("hh", cell.of_state)):
            getattr(theirs, f"weight_{name}").copy_(torch.tensor(layer.W.numpy().T.copy()))
            getattr(theirs, f"bias_{name}").copy_(torch.tensor(-layer.theta.numpy()))
    return theirs, {
        "of_input.W": theirs.weight_ih,
        "of_input.theta": theirs.bias_ih,
        "of_state.W": theirs.weight_hh,
        "of_state.theta": theirs.bias_hh,
    }


@pytest.mark.parametrize(("make", "pytorchs"), [(nn.RecurrentCell, elman), (nn.GRUCell, gated)])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("started", [True, False])
def test_it_is_pytorchs(rng, make, pytorchs, last, started):
    torch = pytest.importorskip("torch")
    cell = make(N_IN, N, init_bias="normal", seed=0, dtype=np.float64)
    theirs, weights = pytorchs(torch, cell)
    x, start = rng.normal(size=(2, T, N_IN)), rng.normal(size=(2, N))
    a, s = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    found = nn.Recurrent(cell, last=last)(a, *([start] if started else []))
    (found * np.cos(np.arange(found.size)).reshape(found.shape)).sum().backward()

    state, states = torch.tensor(start) if started else torch.zeros(2, N, dtype=torch.float64), []
    for t in range(T):
        state = theirs(s[:, t], state)
        states.append(state)
    expected = state if last else torch.stack(states, 1)
    (expected * torch.cos(torch.arange(expected.numel(), dtype=torch.float64)).reshape(expected.shape)).sum().backward()

    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(a.grad.numpy(), s.grad.numpy(), rtol=1e-10, atol=1e-13)
    for name, t in cell.named_parameters():
        other = weights[name].grad.numpy()
        np.testing.assert_allclose(t.grad.numpy(), other.T if other.ndim == 2 else -other, rtol=1e-10, atol=1e-13)


@pytest.mark.host
def test_the_steps_of_a_sequence_are_drawn_once():
    for cell in (nn.RecurrentCell(N_IN, N), nn.GRUCell(N_IN, N)):
        for last in (True, False):
            net = nn.Sequential(nn.Recurrent(cell, last=last), nn.Dense(N, 2))
            dot = tg.graph(net, input_shape=(None, T, N_IN)).to_dot(depth=2)
            assert f"× {T}" in dot  # noqa: RUF001
            assert dot.count(type(cell).__name__) == 2  # what is written in the box, and its hint


@pytest.mark.host
def test_steps_of_which_only_some_are_used_are_drawn_apart():
    cell = nn.RecurrentCell(N_IN, N)

    def net(x):
        states = [cell(x[:, 0])]
        for t in range(1, 6):
            states.append(cell(x[:, t], states[-1]))
        return tg.concatenate([states[1], states[3], states[5]], 1)

    assert "×" not in tg.graph(net, input_shape=(None, 6, N_IN)).to_dot(level="modules")  # noqa: RUF001


@pytest.mark.host
def test_the_calls_of_a_cell_are_told_apart():
    net = nn.Recurrent(nn.RecurrentCell(N_IN, N))
    titles = [cluster.title for cluster in tg.graph(net, input_shape=(None, 3, N_IN)).clusters]
    assert titles == ["cell #1", "cell #2", "cell #3"]
    assert list(net.activations(np.zeros((1, 2, N_IN)))) == ["y1", "cell.z2#1", "cell.y2#1", "cell.z2#2", "cell.y2#2"]


@pytest.mark.host
def test_it_learns_what_came_first():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6, 1))
    Y = X[:, 0] > 0
    net = nn.Sequential(nn.Recurrent(nn.GRUCell(1, 8, seed=0), last=True), nn.Dense(8, 1, seed=1), output="sigmoid")
    history = tg.fit(
        net, losses.binary_cross_entropy, (X, Y), optim.Adam(net.parameters(), 0.02), 20, batch_size=32, progress=False
    )
    assert history.rows[-1]["error"] < 0.05


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.RecurrentCell(3, 0), ArgumentError, "RecurrentCell: n_out must be a whole number of at least 1"),
        (lambda: nn.GRUCell(0, 3), ArgumentError, "GRUCell: n_in must be a whole number of at least 1"),
        (lambda: nn.Recurrent(3), ArgumentError, "Recurrent: cell must be a module or a function, got 3"),
        (
            lambda: nn.Recurrent(nn.RecurrentCell(3, 4))(np.zeros((2, 3))),
            ShapeError,
            r"Recurrent: expected x \(B, T, n\), T from 1 on, got shape \(2, 3\)",
        ),
        (lambda: nn.Recurrent(nn.RecurrentCell(3, 4))(np.zeros((2, 0, 3))), ShapeError, r"got shape \(2, 0, 3\)"),
        (
            lambda: nn.RecurrentCell(3, 4)(np.zeros((2, 3)), np.zeros((1, 4))),
            ShapeError,
            r"expected a state of shape \(2, 4\), got \(1, 4\)",
        ),
    ],
)
def test_wrong_arguments_are_told(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("kind", [nn.RecurrentCell, nn.GRUCell])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 3)])
def test_a_cell_takes_one_step_of_a_batch(kind, shape):
    with pytest.raises(tg.ShapeError, match=rf"{kind.__name__}: expected x \(B, n_in\), got shape "):
        kind(3, 2)(np.ones(shape, np.float32))


def test_a_cell_of_ones_own_returns_its_state():
    with pytest.raises(tg.ArgumentError, match=r"Recurrent: the cell must return its next state, a tensor, got \("):
        nn.Recurrent(lambda x, h=None: (x, x))(np.ones((5, 4, 3), np.float32))
