"""Pictures of what a network has learned: its decisions, its weights, its answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from ..arguments import positive, whole_number
from ..data import check_finite, pca
from ..errors import ArgumentError, DataError
from ..metrics import _classes, _host
from ..mode import no_grad
from ..nn import Module
from ..tensors import Tensor
from ..typing import ArrayLike
from .canvas import COLOURS, figure, mosaic, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED_AT_MOST = 20  # classes with a name at the axis and numbers in the cells
SLANTED = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}  # names below an axis


def _labels(labels: ArrayLike, name: str, n: int) -> np.ndarray:
    """Return classes (n,) from indices, basis vectors (n, classes), or the labels of one output, (n,) or (n, 1)."""
    host = _host(labels, name)
    classes = _classes(host[:, None] if host.ndim == 1 else host, name)
    if len(classes) != n:
        raise DataError(f"{name}: expected a class for each of {n} samples, got shape {host.shape}")
    return classes


def _names(class_names: Sequence[str] | None, n: int) -> list[str]:
    names = [str(i) for i in range(n)] if class_names is None else [plain(name) for name in class_names]
    if len(names) < n:
        raise ArgumentError(f"class_names: expected a name for each of {n} classes, got {len(names)}")
    return names


def confusion_matrix(decision: ArrayLike, target: ArrayLike, class_names: Sequence[str] | None = None) -> Figure:
    """Return how often each class, a row, was decided to be each class, a column; shaded by its share of the row.

    Parameters
    ----------
    decision, target
        As for `tinygraph.metrics.confusion_matrix`.
    class_names : sequence of str, optional
        By default their numbers.

    Raises
    ------
    DataError
        As `tinygraph.metrics.confusion_matrix` does.
    ArgumentError
        If there are fewer names than classes.
    """
    counts = metrics.confusion_matrix(decision, target, None if class_names is None else len(class_names))
    n = len(counts)
    names = _names(class_names, n)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    longest = max(map(len, names))
    is_long = longest > 3
    size = 1.6 + 0.36 * min(n, NAMED_AT_MOST) + 0.09 * longest * is_long
    picture, axes = figure(width=size / 1.4 + 0.6, height=size)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    shown = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    if n <= NAMED_AT_MOST:
        axes.set_xticks(range(n), names, **(SLANTED if is_long else {}))
        axes.set_yticks(range(n), names)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                axes.text(j, i, f"{count}", ha="center", va="center", fontsize=7, color="wk"[int(share[i, j] < 0.5)])
    picture.colorbar(shown, ax=axes, label="share of the class, %")
    axes.set(xlabel="decision", ylabel="class")
    return picture


def roc(scores: ArrayLike, target: ArrayLike, names: Sequence[str] | None = None) -> Figure:
    """Return ROC curves: the fraction of positive samples accepted against that of negative ones, over all thresholds.

    Parameters
    ----------
    scores : tensor or array of shape (n,) or (n, labels), or dict of str to arrays of shape (n,)
        The higher, the more likely positive. A curve for each column, or for each name.
    target : tensor or array
        1 for positive samples, 0 or -1 for others, of shape (n,); for columns of `scores` of their shape, NaN where a
        label is missing, or class indices (n,), each class against the rest.
    names : sequence of str, optional
        Of the columns.

    Raises
    ------
    DataError
        As `tinygraph.metrics.roc_curve` does, or if shapes do not fit.
    """
    picture, axes = figure(width=3.2, height=4.2)
    axes.plot([0, 1], [0, 1], ":", color="0.5")
    for i, (name, (score, same)) in enumerate(_curves(scores, target, names).items()):
        false, true, _ = metrics.roc_curve(score, same)
        area = f"area {metrics.area_under_curve(score, same):.3f}"
        axes.plot(
            false,
            true,
            color=COLOURS[i % len(COLOURS)],
            linestyle=("-", "--", "-.")[i // len(COLOURS) % 3],
            label=f"{name}: {area}" if name else area,
        )
    axes.set(xlabel="negative samples accepted", ylabel="positive samples accepted", aspect="equal")
    axes.legend(frameon=False, loc="lower right", fontsize="small")
    return picture


def _curves(
    scores: ArrayLike, target: ArrayLike, names: Sequence[str] | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return scores and labels of each curve, by its name."""
    t = _host(target, "roc: target")
    if isinstance(scores, Mapping):
        return {plain(name): (_host(s, f"roc: {name}"), t) for name, s in scores.items()}
    s = _host(scores, "roc: scores")
    if s.ndim == 1 or (s.ndim == 2 and s.shape[1] == 1):
        return {"": (s.reshape(-1), t.reshape(-1))}
    if s.ndim == 2 and t.ndim == 1 and len(t) == len(s):
        t = (t[:, None] == np.arange(s.shape[1])).astype(float)
    if s.ndim != 2 or s.shape != t.shape:
        raise DataError(f"roc: expected scores and target of one shape, or class indices, got {s.shape} and {t.shape}")
    known = ~np.isnan(t.astype(float))
    columns = enumerate(_names(names, s.shape[1])[: s.shape[1]])
    return {name: (s[known[:, i], i], t[known[:, i], i]) for i, name in columns}


def decision_regions(
    net: Module,
    X: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    margin: float = 0.15,
    steps: int = 200,
) -> Figure:
    """Return the decisions of a network over a plane of two inputs, as coloured regions, with samples.

    Parameters
    ----------
    net : Module
        Of two inputs, with a softmax output, or one output that decides between two classes.
    X : array of shape (n, 2)
    labels : array
        Class indices (n,), basis vectors (n, classes), or the two labels of one output, (n,) or (n, 1).
    class_names : sequence of str, optional
        By default the labels.
    margin : float
        How far the plane goes beyond the samples, as a fraction of their range.
    steps : int
        How many points it has in each direction.

    Raises
    ------
    ArgumentError
        If `net` decides nothing, or on several labels at once.
    DataError
        If `X` has another shape, or `labels` are no classes.
    """
    X = _host(X, "decision_regions: X")
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise DataError(f"decision_regions: X: expected samples of two inputs, shape (n, 2), got {X.shape}")
    check_finite(X, "decision_regions: X")
    steps, margin = whole_number("decision_regions: steps", steps, 2), positive("margin", margin, zero=True)
    given = _labels(labels, "decision_regions: labels", len(X))
    u, v, decided = regions(net, X, margin, steps)
    levels = np.union1d(given, decided)
    names = _names(class_names, len(levels)) if class_names is not None else [plain(level) for level in levels]
    from matplotlib.colors import ListedColormap

    colours = [COLOURS[i % len(COLOURS)] for i in range(len(levels))]
    picture, axes = figure(width=3.4, height=4.2)
    axes.grid(False)
    # imshow and not contourf: the value of a point is a class, and nothing lies between two classes
    axes.imshow(
        np.searchsorted(levels, decided),
        extent=(u[0], u[-1], v[0], v[-1]),
        origin="lower",
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=len(levels) - 0.5,
        alpha=0.25,
        aspect="auto",
        interpolation="nearest",
    )
    for i, level in enumerate(levels):
        chosen = given == level
        axes.scatter(*X[chosen].T, s=18, color=colours[i], edgecolors="white", linewidths=0.5, label=names[i])
    axes.set(xlabel="$h_1$", ylabel="$h_2$")
    axes.legend(frameon=True, fontsize="small", loc="best")
    return picture


def regions(net: Module, X: np.ndarray, margin: float, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coordinates of a grid around samples, (steps,) each, and the class decided on at each point.

    The decisions are of shape (steps, steps), rows along the second input.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    beyond = margin * np.where(high > low, high - low, 1.0)
    u, v = (np.linspace(a, b, steps) for a, b in zip(low - beyond, high + beyond, strict=True))
    points = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
    with no_grad():
        decision = net.decide(points).numpy()
    if net.output == "softmax" and decision.ndim == 2:
        decision = decision.argmax(axis=1)
    if decision.size != len(points) or not np.all(np.equal(np.mod(decision, 1), 0)):
        raise ArgumentError(
            f"decision_regions: expected a network that decides on one class a sample, got decisions of shape "
            f"{decision.shape} by the output {net.output!r}"
        )
    return u, v, decision.reshape(steps, steps).astype(int)


# images -----------------------------------------------------------------------------------------


def _image_shape(image_shape: Any, n: int, caller: str) -> tuple[int, ...]:
    """Return a shape (height, width) or (colours, height, width) of `n` numbers; a square by default."""
    shape = (math.isqrt(n),) * 2 if image_shape is None else tuple(image_shape)
    if math.prod(shape) != n or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise ArgumentError(
            f"{caller}: image_shape: expected (height, width) or (colours, height, width) of {n} numbers, got {shape}"
        )
    return shape


def weights(net: Module | Tensor, image_shape: Sequence[int] | None = None, most: int = 64) -> Figure:
    """Return the weights that lead to each node of the first hidden layer as images, all to one scale.

    Parameters
    ----------
    net : Module, or tensor of shape (n_1, n_2)
        Whose first weight matrix is drawn, or that matrix.
    image_shape : tuple of int, optional
        Of the input, (height, width) or (colours, height, width); a square by default.
    most : int
        How many nodes are drawn at most: the first ones.

    Raises
    ------
    ArgumentError
        If there is no weight matrix, or `image_shape` does not fit it.
    """
    W = net if isinstance(net, Tensor) else next((p for p in net.parameters() if p.role == "weight"), None)
    if W is None or W.ndim != 2:
        raise ArgumentError("weights: expected a weight matrix (n_1, n_2), or a network whose first weights are one")
    shape = _image_shape(image_shape, W.shape[0], "weights")
    columns = W.numpy().T[: whole_number("weights: most", most, 1)].astype(float)
    size = float(np.abs(columns).max()) or 1.0
    images = columns.reshape(-1, *shape)
    if len(shape) == 3 and shape[0] == 3:
        images = 0.5 + images / (2 * size)
    across = math.ceil(math.sqrt(len(images)))
    tall, wide = math.ceil(len(images) / across) * shape[-2], across * shape[-1]
    picture, axes = figure(width=3.2, height=0.9 + 4.0 * tall / wide)
    joined = mosaic(images, across, fill=np.nan)
    shown = axes.imshow(np.nan_to_num(joined, nan=1.0) if joined.shape[2] == 3 else joined[:, :, 0], **_diverging(size))
    axes.set_axis_off()
    axes.set_title(f"weights to {len(images)} of {W.shape[1]} nodes", loc="left", fontsize=10)
    if joined.shape[2] == 1:
        picture.colorbar(shown, ax=axes, shrink=0.8)
    return picture


def _diverging(size: float) -> dict[str, Any]:
    return {"cmap": "RdBu_r", "vmin": -size, "vmax": size, "interpolation": "none"}


def reconstructions(
    net: Module, X: ArrayLike, image_shape: Sequence[int] | None = None, given: ArrayLike | None = None, most: int = 10
) -> Figure:
    """Return images above what a network gives back of them.

    Parameters
    ----------
    net : Module
        Whose `predict` has as many outputs as inputs, such as an autoencoder (65.99).
    X : array of shape (n, n_1)
        Images, in [0, 1].
    image_shape : tuple of int, optional
        (height, width) or (colours, height, width); a square by default.
    given : array of shape (n, n_1), optional
        What the network is given in the place of `X`, such as damaged images; drawn in a row between.
    most : int
        How many images are drawn at most.

    Raises
    ------
    ArgumentError, DataError
        If shapes do not fit.
    """
    X = _host(X, "reconstructions: X")[: whole_number("reconstructions: most", most, 1)]
    if X.ndim != 2 or not len(X):
        raise DataError(f"reconstructions: X: expected images as rows, shape (n, n_1), got {X.shape}")
    shape = _image_shape(image_shape, X.shape[1], "reconstructions")
    rows = {"image": X}
    if given is not None:
        rows["given"] = _host(given, "reconstructions: given")[: len(X)]
    with no_grad():
        rows["reconstruction"] = net.predict(rows.get("given", X)).numpy()
    for name, images in rows.items():
        if images.shape != X.shape:
            raise DataError(f"reconstructions: {name}: expected shape {X.shape}, got {images.shape}")
    picture, axes = figure()
    height, width = shape[-2:]
    joined = mosaic(np.concatenate(list(rows.values())).reshape(-1, *shape), len(X))
    picture.set_size_inches(1.3 + 0.7 * len(X), 0.3 + 0.7 * len(rows) * (height + 1) / (width + 1))
    axes.imshow(joined.clip(0, 1), cmap="gray", vmin=0.0, vmax=1.0, interpolation="none")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * (height + 1) - 1 for row in range(len(rows))], list(rows))
    axes.tick_params(length=0)
    return picture


# embeddings -------------------------------------------------------------------------------------


def embeddings(
    branch: Callable[..., Tensor], X: ArrayLike, labels: ArrayLike, class_names: Sequence[str] | None = None
) -> Figure:
    """Return where samples lie in the plane of what a network makes of them, such as a Siamese network's branch.

    Parameters
    ----------
    branch : callable
        A module, or a function such as an autoencoder's `encode`; computed in evaluation mode.
    X : array of shape (n, ...)
    labels : array
        Class indices (n,) or basis vectors (n, classes).
    class_names : sequence of str, optional
        By default the classes' numbers.

    Raises
    ------
    DataError
        If the embeddings are no rows of at least two numbers, or `labels` no classes.
    """
    X = X.numpy() if isinstance(X, Tensor) else np.asarray(X)
    given = _labels(labels, "embeddings: labels", len(X))
    with no_grad(), branch._in_mode(False) if isinstance(branch, Module) else nullcontext():
        Z = branch(X).numpy()
    if Z.ndim != 2 or Z.shape[1] < 2 or len(Z) != len(X):
        raise DataError(f"embeddings: expected a row of at least two numbers a sample, got shape {Z.shape}")
    points, told = plane(Z)
    levels = np.unique(given)
    names = _names(class_names, int(levels.max()) + 1)
    picture, axes = figure(width=3.8, height=4.4)
    for i, level in enumerate(levels):
        chosen = given == level
        colour, marker = COLOURS[i % len(COLOURS)], "osD"[i // len(COLOURS) % 3]
        axes.scatter(*points[chosen].T, s=10, alpha=0.8, color=colour, marker=marker, label=names[level])
    axes.set(xlabel=told[0], ylabel=told[1], aspect="equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return picture


def plane(Z: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return coordinates of rows, (n, 2), and what the axes are: the columns themselves, or principal components."""
    if Z.shape[1] == 2:
        return Z, ("$y_1$", "$y_2$")
    components = pca(Z, 2, center=True)
    shares = 100 * components.eigenvalues[:2] / max(float(components.eigenvalues.sum()), np.finfo(float).tiny)
    first, second = (f"component {i}: {share:.0f} % of the variance" for i, share in enumerate(shares, 1))
    return components.encode(Z), (first, second)
