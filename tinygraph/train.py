"""`fit`: training over passes of the data, with its stopping rules, history and checkpoints."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import losses
from .backend import Backend, current
from .checkpoint import PathLike, read_arrays, write_arrays, write_file
from .data import Batches, check_finite, one_hot, task_labels
from .errors import ArgumentError, CompileError, DataError
from .nn import Module, Output
from .ops.elementwise import less, sign, where
from .ops.random import set_stream_state, stream_state
from .ops.reduce import sum
from .optim import SGD, Optimizer, positive
from .plan import compile
from .sleeping import awake_weights
from .tensor import Tensor, as_tensor, no_grad

Loss = Callable[..., Tensor]
SHARE_OF_ROOM = 0.5  # of a device's free memory, that a data set may take
LOOK_BATCHES, LOOK_SECONDS = 100, 1.0  # how often it is looked whether the loss is still finite
COLUMNS = ("epoch", "loss", "error", "validation_loss", "validation_error", "seconds")


@dataclass
class History:
    """What happened in each pass over the training set.

    Attributes
    ----------
    rows : list of dict
        One a pass, with the keys of `COLUMNS`: "epoch" from 1; "loss", the empirical risk with its
        regularisers, averaged over the batches as they were trained; "error", the fraction of wrong
        decisions likewise (None for regression); the same on the validation set (None without one, and
        without regularisers); "seconds" since the start.
    stopped : str
        Why training ended.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""

    def __getitem__(self, column: str) -> list[Any]:
        if column not in COLUMNS:
            raise ArgumentError(f"History: no column {column!r}; columns: {', '.join(COLUMNS)}")
        return [row[column] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def losses(self) -> list[float]:
        """The empirical risk of every pass."""
        return self["loss"]

    @property
    def errors(self) -> list[float | None]:
        """The fraction of wrong decisions of every pass."""
        return self["error"]

    @property
    def times(self) -> list[float]:
        """Seconds from the start to the end of every pass."""
        return self["seconds"]

    def save_csv(self, path: PathLike) -> None:
        """Write the rows as CSV; an absent value is an empty field."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(path, text.getvalue().encode())


def fit(
    net: Module,
    loss_fn: Loss,
    train_set: Any,
    optimizer: Optimizer,
    epochs: int = 10,
    batch_size: int = 32,
    *,
    l2: float = 0.0,
    l1: float = 0.0,
    validation: tuple[Any, Any] | None = None,
    early_stopping: int | None = None,
    stop_tolerance: float | None = None,
    compiled: bool = True,
    checkpoint: PathLike | None = None,
    progress: bool = True,
    seed: int = 0,
    freeze_sleeping: bool = False,
) -> History:
    """Train `net` by mini-batches (65.82), (65.87), (65.149), (65.150); return what happened.

    Parameters
    ----------
    net : Module
        Trained in place, in training mode; its mode is as before afterwards.
    loss_fn : callable
        A function of `tinygraph.losses` is called with ``net(x)`` if it takes logits and with the
        prediction otherwise; any other callable as ``loss_fn(net, x, y)``.
    train_set : pair of arrays, or iterable of batches
        ``(X, Y)`` with one sample a row, converted to the parameters' dtype and shuffled anew each pass; or
        something that yields ``(x, y)`` every time it is iterated over. On a device, the pair is moved there once
        if it takes no more than half of the free memory; batches travel otherwise.
    optimizer : Optimizer
    epochs : int
        How many passes at most.
    batch_size : int
        Of the mini-batches of a pair of arrays.
    l2, l1 : float
        The factors rho and alpha of the regularisers on the weights (65.47), Problem 65.15.
    validation : pair of arrays, optional
        Evaluated after each pass.
    early_stopping : int, optional
        Patience: stop when the validation error (the loss, for regression) has not improved for so many
        passes, and go back to the best parameters, the pocket variables of (65.94).
    stop_tolerance : float, optional
        Stop when the risk improves by less than this from one pass to the next (65.83).
    compiled : bool
        Replay the training step as a plan (see `tinygraph.compile`). What cannot be recorded, a loss of one's own
        that reads values on the host, say, runs eagerly, with a warning; so does `freeze_sleeping`, without one.
    checkpoint : path, optional
        Written after each pass. If it exists, training continues from it as if it had never stopped.
    progress : bool
        Show a bar, if standard error is a terminal.
    seed : int
        Decides the order of the samples in each pass.
    freeze_sleeping : bool
        Keep `l2` and `l1` from changing the weights from and to nodes that dropout has put to sleep, as the text
        of (65.124) says; exact for gradient descent without momentum, and refused for other optimisers.

    Returns
    -------
    History

    Raises
    ------
    DataError
        If the data cannot be used (empty, NaN, labels out of range), or the loss becomes NaN or infinite.
    ArgumentError
        For arguments out of range.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
        raise ArgumentError(f"fit: epochs must be a whole number of at least 0, got {epochs!r}")
    if early_stopping is not None and (validation is None or early_stopping < 1):
        raise ArgumentError("fit: early_stopping is a number of passes of at least 1 and needs a validation set")
    if stop_tolerance is not None:
        positive("fit: stop_tolerance", stop_tolerance, zero=True)
    if freeze_sleeping and (type(optimizer) is not SGD or optimizer.momentum):
        raise ArgumentError("fit: freeze_sleeping is exact for SGD without momentum only; other optimisers remember")
    objective = _Objective(net, loss_fn, positive("fit: l2", l2, zero=True), positive("fit: l1", l1, zero=True))
    objective.freeze_sleeping = freeze_sleeping
    batches = _as_batches(net, loss_fn, train_set, batch_size, seed)
    held_out = None if validation is None else _checked_pair(net, loss_fn, validation, "validation")
    state = _State(net, optimizer, _settings(objective, batch_size, seed), early_stopping)
    if checkpoint is not None and Path(checkpoint).exists():
        state.load(checkpoint)
    history = state.history
    step = _Step(objective, optimizer, compiled and not freeze_sleeping)
    before, started = net.training, time.perf_counter() - (history.times[-1] if history.rows else 0.0)
    try:
        with _progress_bar(epochs, progress) as report:
            while not history.stopped and len(history) < epochs:
                row: dict[str, Any] = dict.fromkeys(COLUMNS)
                row["epoch"] = len(history) + 1
                net.train()
                row["loss"], row["error"] = _train_pass(step, batches, len(history))
                if held_out is not None:
                    row["validation_loss"], row["validation_error"] = evaluate(net, loss_fn, held_out)
                row["seconds"] = time.perf_counter() - started
                history.rows.append(row)
                history.stopped = state.after_pass(stop_tolerance)
                if checkpoint is not None:
                    state.save(checkpoint)
                report(row)
    finally:
        net.train(before)
        optimizer.zero_grad()
    history.stopped = history.stopped or f"all {epochs} passes done"
    state.restore_pocket()
    return history


def evaluate(
    net: Module, loss_fn: Loss, data_set: tuple[Any, Any], batch_size: int = 1024
) -> tuple[float, float | None]:
    """Return loss and error of `net` on a data set, in evaluation mode, without regularisers.

    Parameters
    ----------
    net : Module
    loss_fn : callable
        As for `fit`.
    data_set : pair of arrays
        ``(X, Y)``, one sample a row.
    batch_size : int
        How many rows to compute at a time.

    Returns
    -------
    loss : float
        The mean over the rows.
    error : float or None
        The fraction of wrong decisions: of rows for a softmax output, of entries otherwise; None for
        regression.
    """
    objective = _Objective(net, loss_fn, 0.0, 0.0)
    before = net.training
    net.eval()
    try:
        with no_grad():
            tally = _Tally(objective.backend)
            for x, y in Batches(*data_set, batch_size, shuffle=False, allow_missing=True):
                tally.add(*objective(x, y), objective.output, len(y))
                tally.rows += len(y)
    finally:
        net.train(before)
    return tally.means()


def _train_pass(step: _Step, batches: Iterable[Any], epoch: int) -> tuple[float, float | None]:
    """Go once over the batches, updating after each; return the mean loss and error."""
    if isinstance(batches, Batches):
        batches.set_epoch(epoch)
    tally = step.tally
    tally.reset()
    looked, number = time.perf_counter(), 0
    for number, (x, y) in enumerate(batches, 1):
        step(x, y)
        if number % LOOK_BATCHES == 0 or time.perf_counter() - looked > LOOK_SECONDS:
            tally.check(epoch, number)
            looked = time.perf_counter()
    tally.check(epoch, number)
    if not tally.rows:
        raise DataError(
            "fit: the training set yielded no batch" + (" in a later pass: give a list, not an iterator" * bool(epoch))
        )
    loss_mean, error = tally.means()
    return loss_mean + step.objective.regulariser(), error


class _Step:
    """One update by a batch, compiled if that is wanted and possible."""

    def __init__(self, objective: _Objective, optimizer: Optimizer, compiled: bool) -> None:
        self.objective, self.optimizer = objective, optimizer
        self.tally = _Tally(objective.backend)
        self.run: Callable[[Any, Any], None] = self.update
        if compiled:
            self.run = compile(self.update)

    def __call__(self, x: Any, y: Any) -> None:
        """Update the parameters, and count the loss of the batch before and the decisions on it."""
        if self.objective.takes_logits is not None:
            y = _like_parameters(y, self.objective.like)
        try:
            self.run(x, y)
        except CompileError as error:
            warnings.warn(f"fit: the step runs eagerly; compiled=False says so. {error}", RuntimeWarning, stacklevel=4)
            self.run = self.update
            self.run(x, y)
        self.tally.rows += len(y)

    def update(self, x: Any, y: Any) -> None:
        """Do one step of the optimiser."""
        self.optimizer.zero_grad()
        loss, output, target = self.objective(x, y)
        loss.backward()
        self.objective.add_regulariser_gradients(loss)
        self.optimizer.step()
        self.tally.add(loss, output, target, self.objective.output, len(y))


class _Objective:
    """The loss of a batch, together with the decisions on it, and the regularisers."""

    def __init__(self, net: Module, loss_fn: Loss, rho: float, alpha: float) -> None:
        self.net, self.loss_fn, self.rho, self.alpha = net, loss_fn, rho, alpha
        self.freeze_sleeping = False
        self.takes_logits = losses.takes_logits(loss_fn)
        self.output: Output | None = None if net.output is None else net._output()
        self.weights = [t for t in net.parameters() if t.role == "weight" and t.requires_grad]
        self.like = next(iter(net.parameters()), None)
        self.backend = current() if self.like is None else self.like.backend

    def __call__(self, x: Any, y: Any) -> tuple[Tensor, Tensor | None, Any]:
        """Return the loss of the batch, the network's signals z_L if they decide something, and the targets."""
        if self.takes_logits is None:
            return self.loss_fn(self.net, x, y), None, y
        y = _like_parameters(y, self.like)
        output = self.net(x)
        if self.loss_fn is losses.multitask_cross_entropy:
            y = losses.label_vectors(output, y)
        prediction = output if self.output is None or self.takes_logits else self.output.activation(output)
        loss = self.loss_fn(prediction, y)
        return loss, output if self.output is not None and self.output.decides else None, y

    def regulariser(self) -> float:
        """Return the value of the regularisers."""
        with no_grad():
            value = float(losses.l2(self.net, self.rho)) if self.rho else 0.0
            return value + (float(losses.l1(self.net, self.alpha)) if self.alpha else 0.0)

    def add_regulariser_gradients(self, loss: Tensor) -> None:
        """Add the gradients of the regularisers, ``2 rho W`` and ``alpha sign(W)``, to those of the weights."""
        if not self.rho and not self.alpha:
            return
        with no_grad():
            awake = awake_weights(loss) if self.freeze_sleeping else {}
            for W in self.weights:
                if W.grad is None:
                    continue
                pull = (2.0 * self.rho) * W
                if self.alpha:
                    pull = pull + self.alpha * sign(W)
                W.grad = W.grad + (pull * awake[W] if W in awake else pull)


class _Tally:
    """Losses and wrong decisions, added up over batches where they are computed, and read when they are wanted."""

    def __init__(self, backend: Backend) -> None:
        self.rows = 0
        names = ("loss", "wrong", "decided", "finite batches", "latest loss")
        self._all = [Tensor(backend.asarray(0.0, np.float64), backend, name=name) for name in names]
        self.loss, self.wrong, self.decided, self.finite, self.latest = self._all

    def reset(self) -> None:
        """Begin anew."""
        self.rows = 0
        for t in self._all:
            t.assign_(0.0)

    def add(self, loss: Tensor, z: Tensor | None, y: Any, output: Output | None, rows: int) -> None:
        """Count a batch, but for its rows; nothing is read on the host."""
        with no_grad():
            value = loss.astype(np.float64)
            self.latest.assign_(where(_is_finite(self.loss), value, self.latest))
            self.loss.assign_(self.loss + value * float(rows))
            self.finite.assign_(self.finite + _is_finite(self.loss).astype(np.float64))
            if z is not None and output is not None:
                wrong, known = output.wrong(z, as_tensor(y, z))
                known = known.astype(np.float64)
                self.wrong.assign_(self.wrong + sum(wrong.astype(np.float64) * known))
                self.decided.assign_(self.decided + sum(known))

    def check(self, epoch: int, batches: int) -> None:
        """Raise an error if a loss was not finite."""
        finite = int(float(self.finite))
        if finite < batches:
            raise DataError(
                f"fit: the loss became {float(self.latest)} in pass {epoch + 1}, batch {finite + 1}: lower the "
                "learning rate, or find the operation with tg.detect_anomaly()"
            )

    def means(self) -> tuple[float, float | None]:
        """Return mean loss and the fraction of wrong decisions."""
        if not self.rows:
            return math.nan, None
        decided = float(self.decided)
        return float(self.loss) / self.rows, float(self.wrong) / decided if decided else None


def _is_finite(x: Tensor) -> Tensor:
    return less(abs(x), math.inf)


class _State:
    """What a checkpoint holds: parameters, optimiser, history and pocket variables."""

    def __init__(self, net: Module, optimizer: Optimizer, settings: dict[str, Any], patience: int | None) -> None:
        self.net, self.optimizer, self.settings, self.patience = net, optimizer, settings, patience
        self.history = History()
        self.backend = next((p.backend for p in net.parameters()), None)
        self.pocket: dict[str, Any] | None = None
        self.best = math.inf
        self.best_epoch = 0

    def after_pass(self, tolerance: float | None) -> str:
        """Update the pocket variables; return why to stop, or "" to go on."""
        rows = self.history.rows
        if self.patience is not None:
            error = rows[-1]["validation_error"]
            score = rows[-1]["validation_loss"] if error is None else error
            if score < self.best:
                self.best, self.best_epoch, self.pocket = score, len(rows), self.net.state_dict()
            elif len(rows) - self.best_epoch >= self.patience:
                return f"no better on the validation set for {self.patience} passes; best was pass {self.best_epoch}"
        if tolerance is not None and len(rows) > 1:
            gain = rows[-2]["loss"] - rows[-1]["loss"]
            if gain < tolerance:
                return f"the risk improved by {gain:.3g}, less than {tolerance:g}"
        return ""

    def restore_pocket(self) -> None:
        """Go back to the best parameters, if they were kept."""
        if self.pocket is not None:
            self.net.load_state_dict(self.pocket)

    def save(self, path: PathLike) -> None:
        """Write everything to one file."""
        optimizer = self.optimizer.state_dict()
        arrays = {f"net.{name}": t.numpy() for name, t in self.net.state_dict().items()}
        arrays |= {f"optimizer.{name}": value for name, value in optimizer.items() if name != "lr"}
        arrays |= {f"pocket.{name}": as_tensor(t).numpy() for name, t in (self.pocket or {}).items()}
        if self.backend is not None:
            arrays["random.key"] = stream_state(self.backend)
        facts = {
            "settings": self.settings,
            "lr": optimizer["lr"],
            "rows": self.history.rows,
            "stopped": self.history.stopped,
            "best": None if math.isinf(self.best) else self.best,
            "best_epoch": self.best_epoch,
        }
        write_arrays(path, arrays, facts)

    def load(self, path: PathLike) -> None:
        """Take everything from a file that `save` wrote, after checking that it belongs to this run."""
        arrays, facts = read_arrays(path)
        if facts.get("settings") != self.settings:
            theirs = facts.get("settings") or {}
            differ = ", ".join(k for k in self.settings if theirs.get(k) != self.settings[k])
            raise DataError(f"{path}: a checkpoint of another run; different: {differ or 'everything'}")

        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}

        self.net.load_state_dict(part("net."))
        self.optimizer.load_state_dict({"lr": facts["lr"], **part("optimizer.")})
        self.pocket = part("pocket.") or None
        if self.backend is not None:
            set_stream_state(self.backend, arrays["random.key"])
        self.best = math.inf if facts["best"] is None else facts["best"]
        self.best_epoch = facts["best_epoch"]
        self.history.rows, self.history.stopped = facts["rows"], facts["stopped"]


def _settings(objective: _Objective, batch_size: int, seed: int) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to be continued."""
    loss = objective.loss_fn
    return {
        "loss": getattr(loss, "__name__", type(loss).__name__),
        "batch_size": batch_size,
        "seed": seed,
        "l2": objective.rho,
        "l1": objective.alpha,
        "parameters": {name: list(t.shape) for name, t in objective.net.named_parameters()},
    }


def _as_batches(net: Module, loss_fn: Loss, train_set: Any, batch_size: int, seed: int) -> Iterable[Any]:
    """Return the training set as batches, its arrays checked."""
    if isinstance(train_set, tuple) and len(train_set) == 2 and not isinstance(train_set[0], tuple):
        X, Y = _checked_pair(net, loss_fn, train_set, "train_set")
        batches = Batches(X, Y, batch_size, shuffle=True, seed=seed, allow_missing=True)
        like = next(iter(net.parameters()), None)
        if like is None or losses.takes_logits(loss_fn) is None:
            return batches  # a loss of one's own gets what it was given: host arrays
        room = like.backend.room()
        fits = room is not None and SHARE_OF_ROOM * room >= X.nbytes + Y.nbytes
        return batches.moved(like.backend) if fits else batches
    if not isinstance(train_set, Iterable):
        raise ArgumentError(f"fit: train_set must be a pair (X, Y) or an iterable of batches, got {train_set!r:.60}")
    return train_set


def _checked_pair(net: Module, loss_fn: Loss, pair: tuple[Any, Any], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays of a data set on the host, checked once for all passes."""
    X, Y = (a.numpy() if isinstance(a, Tensor) else np.asarray(a) for a in pair)
    if X.ndim < 1 or Y.ndim < 1 or len(X) != len(Y):
        raise DataError(f"{what}: X and Y must have one row a sample, got shapes {X.shape} and {Y.shape}")
    if not len(X):
        raise DataError(f"{what}: the data set is empty: X has shape {X.shape}")
    check_finite(X, f"{what}: X")
    like = next(iter(net.parameters()), None)
    if like is not None and X.dtype.kind == "f":
        X = X.astype(like.dtype, copy=False)
    takes_logits = losses.takes_logits(loss_fn)
    if takes_logits is None:
        return X, Y
    if getattr(loss_fn, "missing_labels", False) is False:
        check_finite(Y, f"{what}: Y")
    if loss_fn is losses.cross_entropy:
        Y = _class_rows(net, X, Y, what)
    if loss_fn is losses.multitask_cross_entropy:
        Y = task_labels(Y, losses.number_of_tasks(_first_output(net, X)), f"{what}: Y")
    if loss_fn is losses.binary_cross_entropy:
        _check_range(Y, (Y >= 0) & (Y <= 1) | (Y != Y), "from 0 to 1, or NaN where missing", what)
    if loss_fn in (losses.logistic, losses.logistic_with_logits):
        _check_range(Y, np.abs(Y) == 1, "-1 or 1", what)
    if like is not None and Y.dtype.kind in "fbiu":
        Y = Y.astype(like.dtype, copy=False)
    return X, Y


def _check_range(Y: np.ndarray, fits: np.ndarray, allowed: str, what: str) -> None:
    """Raise an error that names the first label that does not fit."""
    if not fits.all():
        at = tuple(np.argwhere(~fits)[0].tolist())
        raise DataError(f"{what}: labels must be {allowed}; Y has {Y[at]} at {list(at)}")


def _first_output(net: Module, X: np.ndarray) -> Tensor:
    """Return what the network gives for the first sample: how wide it is."""
    with no_grad(), net._in_mode(False):
        output: Tensor = net(X[:1])
    return output


def _class_rows(net: Module, X: np.ndarray, Y: np.ndarray, what: str) -> np.ndarray:
    """Return labels as basis vectors for the cross-entropy, checked for their range."""
    classes = _first_output(net, X).shape[-1]
    if Y.dtype.kind in "iu" and Y.ndim == 1:
        return one_hot(Y, classes)
    if Y.shape != (len(X), classes):
        raise DataError(
            f"{what}: the network has {classes} classes, so Y must be class indices of shape ({len(X)},) or rows of "
            f"shape ({len(X)}, {classes}), got shape {Y.shape}"
        )
    sums = Y.sum(axis=1)
    wrong = np.flatnonzero((Y.min(axis=1) < 0) | (np.abs(sums - 1) > 1e-3))
    if len(wrong):
        raise DataError(
            f"{what}: each row of Y must be probabilities of the {classes} classes, adding up to 1; row {wrong[0]} is "
            f"{Y[wrong[0]].tolist()}"
        )
    return Y.astype(np.float32) if Y.dtype.kind != "f" else Y


def _like_parameters(y: Any, like: Tensor | None) -> Any:
    """Return targets as a tensor of the parameters' dtype and backend; class indices stay whole numbers."""
    if isinstance(y, Tensor) or like is None:
        return y
    host = np.asarray(y)
    return Tensor(
        like.backend.asarray(host.astype(like.dtype, copy=False) if host.dtype.kind == "f" else host), like.backend
    )


@contextmanager
def _progress_bar(epochs: int, wanted: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a bar of the passes, if wanted and standard error is a terminal; yield what reports a pass."""
    if not wanted or not sys.stderr.isatty():
        yield lambda row: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs, said="")

        def report(row: dict[str, Any]) -> None:
            said = f"loss {row['loss']:.4f}"
            error = row["error"] if row["validation_error"] is None else row["validation_error"]
            name = "error" if row["validation_error"] is None else "validation error"
            if error is not None:
                said += f"  {name} {100 * error:.1f} %"
            bar.update(task, completed=row["epoch"], said=said)

        yield report
