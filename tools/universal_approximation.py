"""Universal approximation (65.189)-(65.190): a network with one hidden layer, fitted to a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.arguments import whole_number
from tinygraph.backend import generator
from tinygraph.data.checks import check_finite, one_array
from tinygraph.errors import ArgumentError, ShapeError
from tinygraph.nn.layers import Activation

Box = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Approximation:
    """A network that approximates a function on a box.

    Attributes
    ----------
    net : Sequential
        ``net[0]`` is the hidden layer, with the weights w_j in the columns of `W`, shape (M, K), and `theta`, shape
        (K,); ``net[1]`` has alpha as its `W`, shape (K, 1), and no bias, as (65.190) has none.
    largest_error : float
        The largest ``|g(h) - ghat(h)|`` at points of the box that were not fitted (65.189).
    """

    net: nn.Sequential
    largest_error: float

    def __call__(self, H: np.ndarray) -> np.ndarray:
        """Return ghat at the rows of `H`, shape (n, M): shape (n,)."""
        return _outputs(self.net, H)


def approximate(
    g: Callable[[np.ndarray], np.ndarray],
    K: int,
    box: Box = ((-1.0, 1.0),),
    activation: str | Activation = "sigmoid",
    *,
    points: int = 1000,
    steps: int = 3000,
    lr: float = 0.1,
    seed: int = 0,
) -> Approximation:
    """Fit ``ghat(h) = sum_j alpha(j) f(h' w_j - theta(j))`` of K hidden nodes to a function g of M inputs (65.190).

    The theorem says that for any continuous g and any error above zero some K is enough; this looks for the
    parameters by gradient descent with Adam on the mean squared error, and its rate falls to zero along a cosine.
    Every hidden node starts as a step in a random direction, through a random point of the box.

    Parameters
    ----------
    g : callable
        Takes float64 of shape (n, M), one input a row; returns (n,) or (n, 1).
    K : int
        How many hidden nodes there are.
    box : sequence of M pairs
        The set on which to approximate: the lowest and the highest value of each input.
    activation : str or callable
        f, a name of `tinygraph.nn.ACTIVATIONS`.
    points : int
        How many points are fitted, spread evenly along each input.
    steps : int
        How often all points are gone through.
    lr : float
        The learning rate at the start.
    seed : int
        Decides the initial parameters and the points.

    Returns
    -------
    Approximation

    Raises
    ------
    ArgumentError
        If an argument is out of range.
    ShapeError, DataError
        If `g` returns another shape, or numbers that are not finite, or `box` holds such or is ragged.
    """
    K, points = whole_number("K", K, 1), whole_number("points", points, 2)
    rng = generator(seed, "universal approximation")
    center, half = _middle(box)
    M = len(center)
    u = rng.permuted(np.tile(np.linspace(-1.0, 1.0, points)[:, None], M), axis=0)
    others = center + half * rng.uniform(-1.0, 1.0, (points, M))
    y = _values(g, center + half * u)
    size = np.abs(y).max() or 1.0
    hidden = nn.Dense(M, K, activation, seed=seed, dtype=np.float64)
    output = nn.Dense(K, 1, bias=False, seed=seed, dtype=np.float64)
    slopes = rng.standard_normal((M, K))
    slopes *= rng.uniform(1.0, 10.0, K) / np.linalg.norm(slopes, axis=0)
    W, theta, alpha = hidden.W, hidden.theta, output.W
    assert theta is not None
    W.assign_(slopes)
    theta.assign_((rng.uniform(-1.0, 1.0, (K, M)) * slopes.T).sum(axis=1))
    net = nn.Sequential(hidden, output)
    _fit(net, u, y / size, whole_number("steps", steps, 1), lr)
    # The fit was of g / size on [-1, 1]^M: the same function of h itself has these parameters.
    W.assign_(W.numpy() / half[:, None])
    theta.assign_(theta.numpy() + center @ W.numpy())
    alpha.assign_(alpha.numpy() * size)
    return Approximation(net, float(np.abs(_outputs(net, others) - _values(g, others)).max()))


def _fit(net: nn.Sequential, H: np.ndarray, y: np.ndarray, steps: int, lr: float) -> None:
    optimizer = optim.Adam(net.parameters(), lr)
    schedule = optim.CosineDecay(optimizer, steps)

    @tg.compile
    def step(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        optimizer.zero_grad()
        loss = losses.squared_error(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    with threadpool_limits(1):  # products so small take longer when threads share them
        for _ in range(steps):
            step(H, y[:, None])
            schedule.step()


def _middle(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the center of the box and half of its widths, each of shape (M,)."""
    ends = one_array(box, "box")
    if ends.ndim != 2 or ends.shape[1] != 2 or not len(ends):
        raise ArgumentError(f"box: expected a pair (low, high) for each input, got shape {ends.shape}")
    check_finite(ends, "box")
    low, high = ends.T.astype(np.float64)
    if (low >= high).any():
        raise ArgumentError(f"box: expected low below high for each input, got {box!r}")
    return (low + high) / 2, (high - low) / 2


def _values(g: Callable[[np.ndarray], np.ndarray], H: np.ndarray) -> np.ndarray:
    y = one_array(g(H), "g")
    if y.shape not in ((len(H),), (len(H), 1)):
        raise ShapeError(f"g: expected shape {(len(H),)} for {len(H)} inputs, got {y.shape}")
    check_finite(y, "g")
    return y.reshape(-1).astype(np.float64)


def _outputs(net: nn.Sequential, H: np.ndarray) -> np.ndarray:
    with tg.no_grad():
        y: np.ndarray = net(np.asarray(H, np.float64)).numpy()[:, 0]
    return y
