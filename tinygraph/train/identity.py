"""What shapes a run of `fit`: all that must be the same for a checkpoint to be continued bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sized
from typing import Any

import numpy as np

from ..arguments import did_you_mean
from ..data import Batches, ShardBatches
from ..errors import ArgumentError, DataError
from ..files import PathLike, update_checksum
from ..nn import Module
from ..optim import Optimizer, Schedule
from .objective import Objective
from .samples import Steps
from .stopping import Pocket

# What files of 0.1.0 say by another name, and what they do not say, since there was nothing else.
RENAMED = {"optimizer.decay": "optimizer.weight_decay"}
ADDED = {"optimizer.weight_decay": 0.0}
PLAIN = (bool, int, float, str, type(None), np.bool_, np.number)


def shaping_settings(
    objective: Objective,
    optimizer: Optimizer,
    batches: Iterable[object],
    held_out: Iterable[object] | None,
    pocket: Pocket | None,
    schedule: Schedule | None,
    **options: object,
) -> dict[str, object]:
    """Return what shapes a run, by name, as JSON can hold it: network, loss, optimiser, data and options.

    Parameters
    ----------
    objective : Objective
    optimizer : Optimizer
        With the learning rate that it starts with.
    batches : iterable
        The training set; of arrays the number of samples and a fingerprint are taken, of batches of one's own the
        class and the number, where they have one.
    held_out : iterable or None
        The validation set, likewise.
    pocket : Pocket or None
    schedule : Schedule or None
    **options
        The arguments of `fit` that no other parameter tells.
    """
    loss = getattr(objective.loss_fn, "func", objective.loss_fn)  # without its options
    loss_options = getattr(objective.loss_fn, "keywords", {})
    settings = {"loss": getattr(loss, "__name__", type(loss).__name__)}
    settings |= {f"loss.{name}": repr(value) for name, value in loss_options.items()}
    settings |= {"l2": objective.rho, "l1": objective.alpha, "freeze_sleeping": objective.freeze_sleeping, **options}
    if pocket is not None:
        settings |= {"early_stopping": pocket.patience or True, "early_stopping_on": pocket.measure}
    settings["optimizer"] = type(optimizer).__name__
    settings |= {f"optimizer.{name}": value for name, value in {"lr": optimizer.lr, **_plain(optimizer)}.items()}
    settings |= _group_settings(optimizer)
    name = "schedule"
    while schedule is not None:
        settings[name] = type(schedule).__name__
        changing = {"start", *schedule.state_dict()}
        settings |= {f"{name}.{key}": value for key, value in _plain(schedule).items() if key not in changing}
        name, schedule = f"{name}.then", getattr(schedule, "then", None)
    settings |= _plain(batches) if isinstance(batches, Batches) else {}
    settings |= _data_settings("train_set", batches)
    if held_out is not None:
        settings |= _data_settings("validation", held_out)
    settings |= _network_settings(objective.net)
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}


def check_same(
    path: PathLike, saved: Mapping[str, object], current: Mapping[str, object], allow_changes: Collection[str]
) -> None:
    """Raise an error that names what differs between a checkpoint's settings and those of the present run.

    Raises
    ------
    DataError
        If anything differs that is not in `allow_changes`.
    ArgumentError
        If `allow_changes` has a name that neither has.
    """
    saved = ADDED | {RENAMED.get(name, name): value for name, value in saved.items()}
    names = [*current, *(name for name in saved if name not in current)]
    for name in allow_changes:
        if name not in names:
            raise ArgumentError(f"fit: allow_changes: no setting is called {name!r}{did_you_mean(name, names)}")
    absent = "absent"
    differ = [
        f"{name} was {saved.get(name, absent)} and is {current.get(name, absent)}"
        for name in names
        if name not in allow_changes and saved.get(name, absent) != current.get(name, absent)
    ]
    if differ:
        more = f" and {len(differ) - 4} more" if len(differ) > 5 else ""
        told = "; ".join(differ if not more else differ[:4])
        raise DataError(
            f"{path}: a checkpoint of another run: {told}{more}; start a new checkpoint, or name in allow_changes what "
            "is changed on purpose"
        )


def _plain(x: object) -> dict[str, object]:
    """Return the public attributes of an object that are numbers, texts or tuples of them."""
    kept: dict[str, Any] = {}
    for name, value in vars(x).items():
        if name.startswith("_"):
            continue
        if isinstance(value, PLAIN):
            kept[name] = value
        elif isinstance(value, tuple) and all(isinstance(item, PLAIN) for item in value):
            kept[name] = list(value)
    return kept


def _group_settings(optimizer: Optimizer) -> dict[str, object]:
    """Return how many parameters every group of an optimiser has, and what is set for it, where there are any."""
    settings: dict[str, object] = {}
    first = 0
    for k, group in enumerate(optimizer.groups if optimizer.has_groups() else ()):
        facts = {"params": len(group.params), **group.settings, "lr": optimizer.lr_of(first)}
        for name, value in facts.items():
            settings[f"optimizer.groups.{k}.{name}"] = list(value) if isinstance(value, tuple) else value
        first += len(group.params)
    return settings


def _network_settings(net: Module) -> dict[str, object]:
    """Return of every module its class, facts and plain attributes, of every tensor dtype, shape, and if it learns."""
    settings: dict[str, Any] = {}
    for path, module in net.named_modules():
        name = f"net.{path}" if path else "net"
        settings[name] = f"{type(module).__name__}({module.describe()})"
        settings |= {f"{name}.{key}": value for key, value in _plain(module).items() if key != "training"}
    for path, t in net.named_tensors():
        learns = ", frozen" if t.role is not None and not t.requires_grad else ""
        settings[f"net.{path}"] = f"{t.dtype} {t.shape}{learns}"
    return settings


def _data_settings(name: str, batches: Iterable[object]) -> dict[str, object]:
    """Return the number of samples, and a checksum of dtypes, shapes and elements; of others what is known of them."""
    if isinstance(batches, ShardBatches):
        facts = {"samples": batches.samples, "batch_size": batches.batch_size, "seed": batches.seed}
        return {name: "ShardBatches", **{f"{name}.{key}": value for key, value in facts.items()}}
    if isinstance(batches, Steps):
        return {"steps_per_epoch": batches.n, **_data_settings(name, batches.batches)}
    if not isinstance(batches, Batches):
        known: dict[str, object] = {name: type(batches).__name__}
        return known | {f"{name}.batches": len(batches)} if isinstance(batches, Sized) else known
    total, arrays = hashlib.blake2b(digest_size=8), batches.host_arrays()
    for a in arrays:
        total.update(f"{a.dtype.str} {a.shape} ".encode())
        update_checksum(total, a)
    return {f"{name}.samples": len(arrays[0]), f"{name}.fingerprint": total.hexdigest()}
