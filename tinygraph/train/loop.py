"""`fit`: training over epochs, with its stopping rules, history and checkpoints; and `evaluate`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import check_name, positive
from ..data.minibatches import set_epoch
from ..errors import ArgumentError, DataError
from ..files import PathLike
from ..nn import Module
from ..optim import SGD, Optimizer, Plateau, Schedule
from ..parallel import Communicator
from ..parallel.agreement import check_alike, check_epoch, sent_file, share_state
from ..parallel.layers import is_partitioned
from .callbacks import Callback, Callbacks, Training
from .checkpoints import Checkpoints, checkpoints
from .history import COLUMNS, History
from .identity import shaping_settings
from .measures import Measures, Metric
from .objective import LossFunction, Objective
from .progress import progress_shown
from .run import Run
from .samples import (
    EVALUATION_BATCH,
    Steps,
    evaluation_batches,
    held_out_rows,
    on_device,
    shared_batches,
    training_batches,
)
from .step import Step
from .stopping import Convergence, Limits, convergence, pocket_variables

__all__ = ["evaluate", "fit"]

FINITE_CHECK_BATCHES, FINITE_CHECK_SECONDS = 100, 1.0  # how often to check that the loss is finite


def fit(
    net: Module,
    loss_fn: LossFunction,
    train_set: Any,
    optimizer: Optimizer,
    epochs: int | None = None,
    batch_size: int = 32,
    *,
    max_iterations: int | None = None,
    steps_per_epoch: int | None = None,
    replacement: bool = False,
    l2: float = 0.0,
    l1: float = 0.0,
    validation: Any = None,
    metrics: Mapping[str, Metric] | None = None,
    schedule: Schedule | None = None,
    schedule_every: str = "epoch",
    callbacks: Iterable[Callback | Callable[[Training], object]] = (),
    early_stopping: int | bool | None = None,
    early_stopping_on: str | None = None,
    stop_tolerance: float | None = None,
    stop_every: str = "iteration",
    compiled: bool = True,
    checkpoint: PathLike | None = None,
    checkpoint_every: int | str = "epoch",
    checkpoint_keep: int = 1,
    allow_changes: Collection[str] = (),
    progress: bool = True,
    seed: int = 0,
    freeze_sleeping: bool = False,
    parallel: str | None = None,
) -> History:
    """Train `net` by mini-batches (65.82), (65.149) or single samples (65.87), (65.150); return what happened.

    Parameters
    ----------
    net : Module
        Trained in place, in training mode; its mode is as before afterwards.
    loss_fn : callable
        A loss of `tinygraph.losses`, or a `losses.Loss` of one's own, is called with ``net(x)`` if it takes logits and
        with the prediction otherwise; any other callable as ``loss_fn(net, x, y)``. Of the latter, wrong decisions are
        counted if it calls the network once, and `y` has the labels of its output activation.
    train_set : arrays, `data.Dataset`, or iterable of batches
        ``(X, Y)`` with one sample a row, converted to the parameters' dtype and shuffled anew each epoch; or
        ``(X, Y, weights)``, with weights of shape (n,) for the samples, see `tinygraph.losses`; or
        something that yields ``(x, y)`` or ``(x, y, weights)`` every time it is iterated over. On a device, arrays are
        moved there once if they take no more than half of the free memory; else each batch is sent ahead of need.
    optimizer : Optimizer
        It counts the epochs: another call with it goes on in the order of the data, so that n calls of one epoch
        train as one call of n does. ``optimizer.epoch = 0`` starts over, as a new optimiser does.
    epochs : int, optional
        The largest number of epochs, passes over the data; by default 10, or any number with `max_iterations`.
    batch_size : int
        Of the mini-batches of a pair of arrays.
    max_iterations : int, optional
        How many updates of the parameters at most, the limit M_iter beside (65.83); the last epoch may be cut short.
        Of `epochs`, `max_iterations` and the stopping rules whichever comes first ends training.
    steps_per_epoch : int, optional
        How many batches an epoch has, of an iterable that may have no end, such as a generator. The next epoch goes
        on where this one ended, and from the start where the batches end. A checkpoint's run goes past the batches
        that were trained.
    replacement : bool
        Draw each sample of a pair of arrays at random from all of them, whatever was drawn before, as the listing
        (65.82) selects its random data pairs; an epoch is as many draws as there are samples. By default every epoch
        goes through all samples in a new order, as Examples 65.9 and 65.10 reshuffle theirs.
    l2, l1 : float
        The factors rho and alpha of the regularisers on the weights: squares (65.47), and absolute values, the l1
        regularisation of Problem 65.15.
    validation : arrays, `data.Dataset`, iterable of batches, or number; optional
        Evaluated after each epoch; of a `Dataset` its test set. A number between 0 and 1 is the share of the training
        arrays, a whole number how many of their samples, that `data.split` takes from them with the same seed.
    metrics : dict of str to callable, optional
        Each ``function(prediction, target)`` is given the predictions gamma-hat for the whole validation set, or the
        training set where there is none, and the targets as the loss takes them (classes as basis vectors), arrays
        on the host; what it returns is in the history, as "validation_" and the name, or the name.
    schedule : Schedule, optional
        One of `tinygraph.optim`, of this optimiser, whose `step` is called after each epoch with the loss on the
        validation set (the training loss without one), or after each update.
    schedule_every : {"epoch", "iteration"}
        When.
    callbacks : list of Callback or function
        A `tinygraph.Callback` is called at the start, after updates and epochs, and at the end; a function of a
        `Training` after each epoch. Each may end training; a checkpoint's run goes on all the same.
    early_stopping : True or int, optional
        True: train for the full time, and go back to the parameters with the smallest error on the validation set,
        the pocket variables of (65.94), which start as the initial conditions. An int is a patience too, as is
        custom elsewhere: also stop when that error has not become smaller for so many epochs.
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
        set as there are updates; or after each epoch.
    compiled : bool
        Replay the training step as a plan (see `tinygraph.compile`). What cannot be recorded, a loss of one's own
        that reads values on the host, say, runs eagerly, with a warning; so does `freeze_sleeping`, without one.
    checkpoint : path, optional
        Written after each epoch or when `checkpoint_every` says, and when training ends. If it exists, training
        continues from it as if it had never stopped, in the middle of an epoch too; a run that a stopping rule has
        ended stays ended. It is refused if anything that shapes the run differs: the network with its settings,
        dtypes and frozen parameters, loss, optimiser, data, batches and stopping rules; limits and the backend may
        change. Of batches of one's own only their class and number are compared; a `set_epoch` of theirs is called
        before each epoch, with its number from 0 on.
    checkpoint_every : int or str
        How often the checkpoint is written: "epoch", "10 epochs", a number of updates, or a time, "30s", "5min" or
        "1h". A run that is killed loses what it did since then.
    checkpoint_keep : int
        How many checkpoints to keep: the last at `checkpoint`, those before it beside it, called as it is with the
        number of updates, ``run.iteration-500.safetensors``. To go back to one, copy it to `checkpoint`.
    allow_changes : collection of str
        What may differ from the checkpoint on purpose, by the names that the error gives: ``["optimizer.lr"]``. What
        is given here holds from now on.
    progress : bool
        Show a bar if standard error is a terminal, a line in a notebook, and elsewhere a line every ten seconds.
    seed : int
        Decides, with the number of the epoch, the order of the samples in each, or which are drawn.
    freeze_sleeping : bool
        Keep `l2` and `l1` from changing the weights from and to nodes that dropout has put to sleep, as the text
        of (65.124) says; exact for gradient descent without momentum, and refused for other optimisers.
    parallel : {"mpi"}, optional
        Let the processes that ``mpiexec`` started share every mini-batch; by default as the environment variable
        TINYGRAPH_PARALLEL says. All of them run the same program: each computes with its share of the rows, gradients
        are added up over the processes, and what is returned is the same in all, as one process gives it with whole
        batches, to rounding. Process 0 shows the progress and writes the checkpoint.

    Returns
    -------
    History
        `stop_reason` says why training ended.

    Raises
    ------
    DataError
        If the data cannot be used (empty, NaN, labels out of range), or the loss becomes NaN or infinite.
    ArgumentError
        For arguments out of range.
    BackendError
        If `parallel` is asked for where MPI is not installed, or on another backend than "numpy".

    Examples
    --------
    >>> import tinygraph as tg
    >>> digits = tg.data.load("digits")
    >>> train, held_out = tg.data.split(*digits.train, 0.2)
    >>> net = tg.models.fully_connected([64, 16, 10], seed=0)
    >>> sgd = tg.optim.SGD(net.parameters(), 0.1)
    >>> history = tg.fit(net, tg.losses.cross_entropy, train, sgd, 3, validation=held_out, early_stopping=True)
    >>> history.stop_reason, history.best_epoch
    ('completed 3 epochs', 3)
    """
    limits = Limits(epochs, max_iterations)
    if stop_tolerance is not None:
        positive("fit: stop_tolerance", stop_tolerance, zero=True)
    check_name("fit: stop_every", stop_every, ("iteration", "epoch"))
    if freeze_sleeping and (type(optimizer) is not SGD or optimizer.uses("momentum") or optimizer.uses("weight_decay")):
        raise ArgumentError(
            "fit: freeze_sleeping needs SGD without momentum or weight_decay; other optimisers move weights by past "
            "gradients as well"
        )
    rho, alpha = positive("fit: l2", l2, zero=True), positive("fit: l1", l1, zero=True)
    objective = Objective(net, loss_fn, rho, alpha, freeze_sleeping)
    pocket = pocket_variables(objective, early_stopping, early_stopping_on, validation is not None)
    train_set, validation = held_out_rows(train_set, validation, seed)
    batches = training_batches(objective, train_set, batch_size, seed, replacement, steps_per_epoch)
    held_out = None
    if validation is not None:
        held_out = on_device(objective, evaluation_batches(objective, validation, "validation"))
    shares = shared_batches(objective, batches, parallel)
    if checkpoint is not None and is_partitioned(net):
        raise ArgumentError(
            "fit: checkpoint: each process has a part of the network: keep whole_state(net, processes) of "
            "tinygraph.parallel.layers"
        )
    _check_optimizer(optimizer, net)
    _check_schedule(schedule, schedule_every, optimizer)
    measures = Measures(objective, metrics, batches, held_out)
    called = Callbacks(callbacks)
    step = Step(objective, optimizer, compiled and not freeze_sleeping, shares)
    processes = None if shares is None else shares.processes
    settings: dict[str, Any] = {}
    if checkpoint is not None or processes is not None:
        options: dict[str, Any] = {"stop_tolerance": stop_tolerance, "stop_every": stop_every}
        options |= {"schedule_every": schedule_every} if schedule else {}
        options |= {"metrics": list(measures.functions)} if measures.functions else {}
        settings = shaping_settings(objective, optimizer, batches, held_out, pocket, schedule, **options)
    run = Run(objective, optimizer, step.tally, pocket, schedule, settings)
    if processes is not None:
        ends = {"epochs": limits.epochs, "max_iterations": limits.iterations, "checkpoint": checkpoint is not None}
        check_alike(processes, settings | ends)
        share_state(processes, net, optimizer)
    if checkpoint is not None:
        with nullcontext(Path(checkpoint)) if processes is None else sent_file(processes, checkpoint) as path:
            if path is not None and path.exists():
                run.load(path, allow_changes)
                if isinstance(batches, Steps):
                    batches.skip(run.history.iterations - run.done)
    files = checkpoints(run, checkpoint, checkpoint_every, checkpoint_keep)
    is_first = processes is None or processes.rank == 0
    if not is_first:
        files = None
    history = run.history
    rule = convergence(objective, batches, stop_tolerance, history)
    training = Training(run)
    after_update = _AfterUpdate(
        training,
        called,
        rule if stop_every == "iteration" else None,
        schedule if schedule_every == "iteration" else None,
        files,
        processes if processes is not None and any(processes.gather(called.is_called_after_updates)) else None,
    )

    def goes_on() -> bool:
        return not history.stop_reason and not training.reason and limits.allow(history, run.done > 0)

    before, run.started = net.training, time.perf_counter() - run.seconds
    try:
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # the loss is checked, and says more
        called.start(training)
        with quiet, progress_shown(limits.epochs_at_most(batches), progress and is_first) as report:
            while goes_on():
                row: dict[str, Any] = dict.fromkeys(COLUMNS)
                row["epoch"] = len(history) + 1
                net.train()
                reason = _train_epoch(step, shares or batches, run, limits.iterations, after_update)
                row["loss"], row["error"] = step.means()
                cut_short = run.done > 0
                if files is not None and cut_short:  # what follows is done again by who continues
                    files.save()
                row |= measures.values()
                row["seconds"] = time.perf_counter() - run.started
                history.rows.append(row)
                if rule is not None and stop_every == "epoch" and not cut_short:
                    reason = rule.check(f"epoch {row['epoch']}")
                if schedule is not None and schedule_every == "epoch" and not cut_short:
                    schedule.step(row["loss"] if held_out is None else row["validation_loss"])
                if pocket is not None:
                    reason = pocket.check(row) or reason
                history.stop_reason = reason
                run.done = 0
                report(row)
                try:
                    called.epoch(training)
                    if shares is not None and processes is not None:
                        check_epoch(shares, net, row["epoch"])
                        training.agree(processes)
                finally:
                    if files is not None and not cut_short:
                        files.after_epoch(last=not goes_on())
    except BaseException as error:
        if processes is not None:
            processes.ends.reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        net.train(before)
        optimizer.zero_grad()
        called.end(training)
    history.stop_reason = history.stop_reason or training.reason or limits.reached(history)
    if pocket is not None:
        net.load_state_dict(pocket.variables)
        history.best_epoch = pocket.epoch
    return history


def _check_optimizer(optimizer: object, net: Module) -> None:
    """Raise an error unless `optimizer` is one that changes parameters of `net`."""
    if not isinstance(optimizer, Optimizer):
        got = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise ArgumentError(
            f"fit: optimizer must be an optimiser such as optim.SGD(net.parameters(), lr=0.1), got {got}"
        )
    if set(optimizer.params).isdisjoint(net.parameters()):
        raise ArgumentError(
            "fit: the optimiser holds none of the network's parameters; make it of net.parameters() of this network"
        )


def _check_schedule(schedule: object, every: object, optimizer: Optimizer) -> None:
    """Raise an error unless `schedule` is None or one of the optimiser's."""
    check_name("fit: schedule_every", every, ("epoch", "iteration"))
    if schedule is None:
        return
    if not isinstance(schedule, Schedule):
        raise ArgumentError(
            f"fit: schedule must be one of tinygraph.optim, such as CosineDecay(optimizer, 10), got {schedule!r:.60}"
        )
    if schedule.optimizer is not optimizer:
        raise ArgumentError("fit: the schedule is another optimiser's; make it of the one that is given here")
    if isinstance(schedule, Plateau) and every == "iteration":
        raise ArgumentError("fit: Plateau looks at the loss of an epoch: schedule_every='epoch'")


class _AfterUpdate:
    """What is done after each update: the schedule, callbacks, the stopping rule, a checkpoint."""

    def __init__(
        self,
        training: Training,
        called: Callbacks,
        rule: Convergence | None,
        schedule: Schedule | None,
        files: Checkpoints | None,
        processes: Communicator | None,
    ) -> None:
        self.processes = processes
        self.training, self.called, self.rule, self.schedule, self.files = training, called, rule, schedule, files

    def __call__(self) -> str:
        """Return why to stop for good, or ""."""
        if self.schedule is not None:
            self.schedule.step()
        self.called.batch(self.training)
        if self.processes is not None:
            self.training.agree(self.processes)
        reason = "" if self.rule is None else self.rule.check(f"iteration {self.training.history.iterations}")
        if self.files is not None and not reason:
            self.files.after_update()
        return reason


def _train_epoch(
    step: Step, batches: Iterable[object], run: Run, max_iterations: int | None, after_update: _AfterUpdate
) -> str:
    """Go over the batches that are left of an epoch, updating after each; return why to stop for good, or "".

    Afterwards ``run.done`` is 0 if the epoch went to its end.
    """
    history, epoch = run.history, len(run.history)
    number = run.optimizer.epoch - (run.done > 0)  # of an epoch that was cut short, the rest
    set_epoch(batches, number)
    run.optimizer.epoch = number + 1
    if not run.done:
        step.tally.reset()
    checked, cut_short, reason = time.perf_counter(), False, ""
    for batch in islice(batches, run.done, None):
        if history.iterations == max_iterations or after_update.training.reason:
            cut_short = True
            break
        step(*step.objective.parts(batch))
        run.done += 1
        history.iterations += 1
        is_time = step.shares is None and time.perf_counter() - checked > FINITE_CHECK_SECONDS  # the same in all
        if run.done % FINITE_CHECK_BATCHES == 0 or is_time:
            step.tally.check(epoch, run.done)
            checked = time.perf_counter()
        reason = after_update()
        if reason:
            break
    trained = run.done
    step.tally.check(epoch, trained)
    if not cut_short:
        run.done = 0
    if not trained:
        raise DataError(
            "fit: the training set was exhausted after the first epoch; pass a list or another re-iterable"
            if epoch
            else "fit: the training set yielded no batch"
        )
    return reason


def evaluate(
    net: Module, loss_fn: LossFunction, data_set: Any, batch_size: int = EVALUATION_BATCH
) -> tuple[float, float | None]:
    """Return loss and error of `net` on a data set, in evaluation mode, without regularisers.

    Parameters
    ----------
    net : Module
    loss_fn : callable
        As for `fit`.
    data_set : arrays, `data.Dataset`, or iterable of batches
        ``(X, Y)`` or ``(X, Y, weights)``, one sample a row; of a `Dataset` its test set.
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
    objective = Objective(net, loss_fn, caller="evaluate")
    return objective.means(evaluation_batches(objective, data_set, "evaluate", batch_size))
