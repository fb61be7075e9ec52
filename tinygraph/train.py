"""`fit`: training over passes of the data, with its stopping rules, history and checkpoints."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import losses
from .checkpoint import PathLike
from .data import Batches, check_finite, one_hot, task_labels
from .data.checks import whole_number
from .errors import ArgumentError, CompileError, DataError
from .history import COLUMNS, History, Run
from .nn import Module
from .objective import Loss, Objective, Tally
from .ops.random import preserved_streams
from .optim import SGD, Optimizer, positive
from .plan import compile
from .stopping import Convergence, Pocket
from .tensors import Tensor, no_grad

__all__ = ["evaluate", "fit"]

SHARE_OF_ROOM = 0.5  # of a device's free memory, that a data set may take
LOOK_BATCHES, LOOK_SECONDS = 100, 1.0  # how often it is looked whether the loss is still finite
DEFAULT_EPOCHS = 10
ROWS_AT_A_TIME = 1024  # where nothing is learned from them


def fit(
    net: Module,
    loss_fn: Loss,
    train_set: Any,
    optimizer: Optimizer,
    epochs: int | None = None,
    batch_size: int = 32,
    *,
    max_iterations: int | None = None,
    replacement: bool = False,
    l2: float = 0.0,
    l1: float = 0.0,
    validation: tuple[Any, Any] | None = None,
    early_stopping: int | bool | None = None,
    early_stopping_on: str | None = None,
    stop_tolerance: float | None = None,
    stop_every: str = "iteration",
    compiled: bool = True,
    checkpoint: PathLike | None = None,
    progress: bool = True,
    seed: int = 0,
    freeze_sleeping: bool = False,
) -> History:
    """Train `net` by mini-batches (65.82), (65.149) or single samples (65.87), (65.150); return what happened.

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
    epochs : int, optional
        How many passes at most; by default 10, or any number with `max_iterations`.
    batch_size : int
        Of the mini-batches of a pair of arrays.
    max_iterations : int, optional
        How many updates of the parameters at most, the limit M_iter beside (65.83); the last pass may be cut short.
        Of `epochs`, `max_iterations` and the stopping rules whichever comes first ends training.
    replacement : bool
        Draw each sample of a pair of arrays at random from all of them, whatever was drawn before, as the listing
        (65.82) selects its random data pairs; a pass is as many draws as there are samples. By default every pass
        goes through all samples in a new order, as Examples 65.9 and 65.10 reshuffle theirs.
    l2, l1 : float
        The factors rho and alpha of the regularisers on the weights: squares (65.47), and absolute values, the l1
        regularisation of Problem 65.15.
    validation : pair of arrays, optional
        Evaluated after each pass; `data.split` makes one of a part of the training samples.
    early_stopping : True or int, optional
        True: train for the full time, and go back to the parameters with the smallest error on the validation set,
        the pocket variables of (65.94), which start as the initial conditions. An int is a patience too, as is
        custom elsewhere: also stop when that error has not become smaller for so many passes.
    early_stopping_on : {"error", "loss"}, optional
        What the error R_v on the validation set is in (65.94): the fraction of wrong decisions, by default where the
        network decides something, or the loss.
    stop_tolerance : float, optional
        Stop when the risk of the parameters changes by no more than this, up or down (65.83). The risk is the mean
        loss over the whole training set, in evaluation mode, with the regularisers (65.47): each look costs a forward
        pass over the training set (`history.risks` keeps what was seen). Of batches of one's own it is the mean over
        one more iteration through them.
    stop_every : {"iteration", "epoch"}
        When to look: after each update, as (65.83) is printed, which costs as many forward passes over the training
        set as there are updates; or after each pass.
    compiled : bool
        Replay the training step as a plan (see `tinygraph.compile`). What cannot be recorded, a loss of one's own
        that reads values on the host, say, runs eagerly, with a warning; so does `freeze_sleeping`, without one.
    checkpoint : path, optional
        Written after each pass, and where `max_iterations` ends training. If it exists, training continues from it
        as if it had never stopped; a run that a stopping rule has ended stays ended.
    progress : bool
        Show a bar, if standard error is a terminal.
    seed : int
        Decides the order of the samples in each pass, or which are drawn.
    freeze_sleeping : bool
        Keep `l2` and `l1` from changing the weights from and to nodes that dropout has put to sleep, as the text
        of (65.124) says; exact for gradient descent without momentum, and refused for other optimisers.

    Returns
    -------
    History
        `stopped` says why training ended.

    Raises
    ------
    DataError
        If the data cannot be used (empty, NaN, labels out of range), or the loss becomes NaN or infinite.
    ArgumentError
        For arguments out of range.

    Examples
    --------
    >>> import tinygraph as tg
    >>> digits = tg.data.load("digits")
    >>> train, held_out = tg.data.split(*digits.train, 0.2)
    >>> net = tg.models.fully_connected([64, 16, 10], seed=0)
    >>> sgd = tg.optim.SGD(net.parameters(), 0.1)
    >>> history = tg.fit(net, tg.losses.cross_entropy, train, sgd, 3, validation=held_out, early_stopping=True)
    >>> history.stopped, history.best_epoch
    ('all 3 passes done', 3)
    """
    if epochs is None:
        epochs = DEFAULT_EPOCHS if max_iterations is None else None
    else:
        epochs = whole_number("fit: epochs", epochs, 0)
    if max_iterations is not None:
        max_iterations = whole_number("fit: max_iterations", max_iterations, 0)
    if stop_tolerance is not None:
        positive("fit: stop_tolerance", stop_tolerance, zero=True)
    if stop_every not in ("iteration", "epoch"):
        raise ArgumentError(f"fit: stop_every is 'iteration' or 'epoch', got {stop_every!r}")
    if freeze_sleeping and (type(optimizer) is not SGD or optimizer.momentum):
        raise ArgumentError("fit: freeze_sleeping is exact for SGD without momentum only; other optimisers remember")
    objective = Objective(net, loss_fn, positive("fit: l2", l2, zero=True), positive("fit: l1", l1, zero=True))
    objective.freeze_sleeping = freeze_sleeping
    pocket = _pocket(objective, early_stopping, early_stopping_on, validation is not None)
    batches = _as_batches(net, loss_fn, train_set, batch_size, seed, replacement)
    held_out = None if validation is None else _in_order(net, loss_fn, validation, "validation")
    step = _Step(objective, optimizer, compiled and not freeze_sleeping)
    settings = _settings(objective, batch_size, seed, replacement, pocket)
    run = Run(net, optimizer, settings, step.tally, pocket)
    if checkpoint is not None and Path(checkpoint).exists():
        run.load(checkpoint)
    history = run.history
    rule = _convergence(objective, batches, stop_tolerance, history)
    each_update, each_pass = (rule, None) if stop_every == "iteration" else (None, rule)
    before, started = net.training, time.perf_counter() - (history.times[-1] if history.rows else 0.0)
    try:
        with _progress_bar(_passes(epochs, max_iterations, batches), progress) as report:
            while not history.stopped and _goes_on(run, epochs, max_iterations):
                row: dict[str, Any] = dict.fromkeys(COLUMNS)
                row["epoch"] = len(history) + 1
                net.train()
                why = _train_pass(step, batches, run, max_iterations, each_update)
                row["loss"], row["error"] = step.means()
                if run.done and checkpoint is not None:  # cut short: what follows is done again by who continues
                    run.save(checkpoint)
                if held_out is not None:
                    row["validation_loss"], row["validation_error"] = objective.means(held_out)
                row["seconds"] = time.perf_counter() - started
                history.rows.append(row)
                if each_pass is not None and not run.done:
                    why = each_pass.look(f"pass {row['epoch']}")
                if pocket is not None:
                    why = pocket.look(row) or why
                history.stopped = why
                if checkpoint is not None and not run.done:
                    run.save(checkpoint)
                run.done = 0
                report(row)
    finally:
        net.train(before)
        optimizer.zero_grad()
    history.stopped = history.stopped or _limit_reached(history, epochs, max_iterations)
    if pocket is not None:
        net.load_state_dict(pocket.variables)
        history.best_epoch = pocket.epoch
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
    return Objective(net, loss_fn, 0.0, 0.0).means(_in_order(net, loss_fn, data_set, "evaluate", batch_size))


def _in_order(
    net: Module, loss_fn: Loss, data_set: tuple[Any, Any], what: str, batch_size: int = ROWS_AT_A_TIME
) -> Batches:
    """Return the rows of a data set, checked, as batches to be evaluated."""
    return Batches(*_checked_pair(net, loss_fn, data_set, what), batch_size, shuffle=False, allow_missing=True)


def _goes_on(run: Run, epochs: int | None, max_iterations: int | None) -> bool:
    """Whether another pass, or the rest of one, is to be trained."""
    if max_iterations is not None and run.history.iterations >= max_iterations:
        return run.done > 0 and run.history.iterations == max_iterations  # cut short there: its row is made again
    return epochs is None or len(run.history) < epochs


def _limit_reached(history: History, epochs: int | None, max_iterations: int | None) -> str:
    """Return which limit ended training; a checkpoint may have been beyond it already."""
    for limit, count, unit in ((max_iterations, history.iterations, "iterations"), (epochs, len(history), "passes")):
        if limit is not None and count >= limit:
            return f"all {limit} {unit} done" if count == limit else f"the checkpoint has {count} {unit}, of {limit}"
    return ""


def _passes(epochs: int | None, max_iterations: int | None, batches: Any) -> int | None:
    """Return how many passes there are at most, as far as this is known."""
    limits = [epochs] if epochs is not None else []
    if max_iterations is not None and hasattr(batches, "__len__"):
        limits.append(-(-max_iterations // max(1, len(batches))))
    return min(limits, default=None)


def _train_pass(
    step: _Step, batches: Iterable[Any], run: Run, max_iterations: int | None, rule: Convergence | None
) -> str:
    """Go over the batches that are left of a pass, updating after each; return why to stop for good, or "".

    Afterwards ``run.done`` is 0 if the pass went to its end.
    """
    history, epoch = run.history, len(run.history)
    if isinstance(batches, Batches):
        batches.set_epoch(epoch)
    if not run.done:
        step.tally.reset()
    trained, looked, why = run.done, time.perf_counter(), ""
    run.done = 0
    for number, (x, y) in enumerate(batches):
        if number < trained:
            continue
        if history.iterations == max_iterations:
            run.done = trained
            break
        step(x, y)
        trained += 1
        history.iterations += 1
        if trained % LOOK_BATCHES == 0 or time.perf_counter() - looked > LOOK_SECONDS:
            step.tally.check(epoch, trained)
            looked = time.perf_counter()
        why = "" if rule is None else rule.look(f"iteration {history.iterations}")
        if why:
            break
    step.tally.check(epoch, trained)
    if not trained:
        raise DataError(
            "fit: the training set yielded no batch" + (" in a later pass: give a list, not an iterator" * bool(epoch))
        )
    return why


def _convergence(
    objective: Objective, batches: Iterable[Any], tolerance: float | None, history: History
) -> Convergence | None:
    """Return what looks whether the risk of the parameters still changes, if that is wanted."""
    if tolerance is None:
        return None
    if isinstance(batches, Iterator):
        raise ArgumentError("fit: stop_tolerance goes through the training set again: give a list, not an iterator")

    def risk() -> float:
        samples = batches.in_order(ROWS_AT_A_TIME) if isinstance(batches, Batches) else batches
        with preserved_streams():  # a loss of one's own may draw masks
            return objective.means(samples)[0] + objective.regulariser()

    return Convergence(tolerance, risk, history.risks)


def _pocket(
    objective: Objective, early_stopping: int | bool | None, measure: str | None, validated: bool
) -> Pocket | None:
    """Return the pocket variables, if they are wanted."""
    if early_stopping is None or early_stopping is False:
        if measure is not None:
            raise ArgumentError("fit: early_stopping_on says what early stopping compares: give early_stopping too")
        return None
    if not validated:
        raise ArgumentError(
            "fit: early_stopping needs a validation set; data.split takes a part of the training samples"
        )
    patience = None if early_stopping is True else whole_number("fit: early_stopping", early_stopping, 1)
    measure = measure or ("error" if objective.decides() else "loss")
    if measure not in ("error", "loss"):
        raise ArgumentError(f"fit: early_stopping_on is 'error' or 'loss', got {measure!r}")
    if measure == "error" and not objective.decides():
        raise ArgumentError("fit: early_stopping_on='error': nothing is decided here, so only 'loss' can be compared")
    return Pocket(objective.net, measure, patience)


class _Step:
    """One update by a batch, compiled if that is wanted and possible."""

    def __init__(self, objective: Objective, optimizer: Optimizer, compiled: bool) -> None:
        self.objective, self.optimizer = objective, optimizer
        self.tally = Tally(objective.backend)
        self.run: Callable[[Any, Any], None] = self.update
        if compiled:
            self.run = compile(self.update)

    def __call__(self, x: Any, y: Any) -> None:
        """Update the parameters, and count the loss of the batch before and the decisions on it."""
        if self.objective.takes_logits is not None:
            y = self.objective.targets(y)
        try:
            self.run(x, y)
        except CompileError as error:
            warnings.warn(f"fit: the step runs eagerly; compiled=False says so. {error}", RuntimeWarning, stacklevel=4)
            self.run = self.update
            self.run(x, y)
        self.tally.rows += len(y)

    def means(self) -> tuple[float, float | None]:
        """Return the mean loss of the batches of the pass, with its regularisers, and the error."""
        loss, error = self.tally.means()
        return loss + self.objective.regulariser(), error

    def update(self, x: Any, y: Any) -> None:
        """Do one step of the optimiser."""
        self.optimizer.zero_grad()
        loss, output, target = self.objective(x, y)
        loss.backward()
        self.objective.add_regulariser_gradients(loss)
        self.optimizer.step()
        self.tally.add(loss, output, target, self.objective.output, len(y))


def _settings(
    objective: Objective, batch_size: int, seed: int, replacement: bool, pocket: Pocket | None
) -> dict[str, Any]:
    """Return what must be the same for a checkpoint to be continued."""
    loss = losses.without_options(objective.loss_fn)
    return {
        "loss": getattr(loss, "__name__", type(loss).__name__),
        "loss_options": {k: repr(v) for k, v in getattr(objective.loss_fn, "keywords", {}).items()},
        "batch_size": batch_size,
        "seed": seed,
        "replacement": replacement,
        "early_stopping_on": None if pocket is None else pocket.measure,
        "l2": objective.rho,
        "l1": objective.alpha,
        "parameters": {name: list(t.shape) for name, t in objective.net.named_parameters()},
    }


def _as_batches(
    net: Module, loss_fn: Loss, train_set: Any, batch_size: int, seed: int, replacement: bool
) -> Iterable[Any]:
    """Return the training set as batches, its arrays checked."""
    if isinstance(train_set, tuple) and len(train_set) == 2 and not isinstance(train_set[0], tuple):
        X, Y = _checked_pair(net, loss_fn, train_set, "train_set")
        batches = Batches(X, Y, batch_size, seed=seed, replacement=replacement, allow_missing=True)
        like = next(iter(net.parameters()), None)
        if like is None or losses.takes_logits(loss_fn) is None:
            return batches  # a loss of one's own gets what it was given: host arrays
        room = like.backend.room()
        fits = room is not None and SHARE_OF_ROOM * room >= X.nbytes + Y.nbytes
        return batches.moved(like.backend) if fits else batches
    if replacement:
        raise ArgumentError("fit: replacement draws from a pair of arrays; batches of your own come as they are")
    if not isinstance(train_set, Iterable):
        raise ArgumentError(f"fit: train_set must be a pair (X, Y) or an iterable of batches, got {train_set!r:.60}")
    if isinstance(train_set, list) and any(isinstance(part, np.ndarray | Tensor) for part in train_set):
        raise ArgumentError("fit: train_set is a list of arrays; give a pair of arrays as a tuple (X, Y)")
    return train_set


def _both(pair: Any, what: str) -> tuple[Any, Any]:
    """Return the two arrays of a data set, or raise an error if it is none."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        got = f"{len(pair)} of them" if isinstance(pair, tuple | list) else f"a {type(pair).__name__}"
        raise DataError(f"{what}: expected a pair of arrays (X, Y), got {got}")
    return pair[0], pair[1]


def _checked_pair(net: Module, loss_fn: Loss, pair: tuple[Any, Any], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the arrays of a data set on the host, checked once for all passes."""
    X, Y = (a.numpy() if isinstance(a, Tensor) else np.asarray(a) for a in _both(pair, what))
    if X.ndim < 1 or Y.ndim < 1 or len(X) != len(Y):
        raise DataError(f"{what}: X and Y must have one row a sample, got shapes {X.shape} and {Y.shape}")
    if not len(X):
        raise DataError(f"{what}: the data set is empty: X has shape {X.shape}")
    check_finite(X, f"{what}: X")
    like = next(iter(net.parameters()), None)
    if like is not None and X.dtype.kind == "f":
        X = X.astype(like.dtype, copy=False)
    if losses.takes_logits(loss_fn) is None:
        return X, Y
    loss = losses.without_options(loss_fn)
    if not getattr(loss, "missing_labels", False):
        check_finite(Y, f"{what}: Y")
    if loss is losses.cross_entropy:
        Y = _class_rows(net, X, Y, what)
    if loss is losses.multitask_cross_entropy:
        Y = task_labels(Y, losses.number_of_tasks(_first_output(net, X)), f"{what}: Y")
    if loss is losses.binary_cross_entropy:
        _check_range(Y, (Y >= 0) & (Y <= 1) | (Y != Y), "from 0 to 1, or NaN where missing", what)
    if loss in (losses.logistic, losses.logistic_with_logits):
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


@contextmanager
def _progress_bar(epochs: int | None, wanted: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
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
