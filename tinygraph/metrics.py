"""Metrics, of decisions and probabilities on the host."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .backend import get_backend
from .data.checks import SUM_TOLERANCE, numbers, task_labels
from .errors import DataError
from .mode import no_grad
from .nn.outputs import wrong_classes, wrong_elements
from .tensors import Tensor
from .typing import ArrayLike


def _host(values: ArrayLike, name: str) -> np.ndarray:
    """Return numbers on the host, checked to be such."""
    return numbers(values.numpy() if isinstance(values, Tensor) else values, name)


def _classes_or_rows(values: ArrayLike, name: str) -> np.ndarray:
    """Return class indices (n,), or rows (n, classes) of which the largest element counts; a column is decisions."""
    host = _host(values, name)
    if host.ndim == 2 and host.shape[1] == 1:
        column = host[:, 0].astype(float)
        undecided = column[(column != np.round(column)) & ~np.isnan(column)]
        if len(undecided):
            raise DataError(
                f"{name}: a column (n, 1) must hold decisions, whole numbers, got {undecided[0]}; decide first, by "
                "net.decide(x) or p >= 0.5"
            )
        return column
    if host.ndim == 2:
        return host
    if host.ndim != 1 or (host.size and host.dtype.kind not in "iub"):
        raise DataError(f"{name}: expected class indices (n,) or rows (n, classes), got {host.dtype} {host.shape}")
    return host.astype(np.int64)


def _classes(values: ArrayLike, name: str) -> np.ndarray:
    """Return class indices (n,) from class indices or rows."""
    host = _classes_or_rows(values, name)
    if host.ndim == 2:
        return np.asarray(host.argmax(axis=1))
    if np.isnan(host).any():
        raise DataError(f"{name}: row {int(np.isnan(host).argmax())} is NaN, which is no class; leave it out")
    return host.astype(np.int64)


def _pair(decision: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _classes_or_rows(decision, "decision"), _classes_or_rows(target, "target")
    if len(a) != len(b) or not len(a):
        raise DataError(f"decision and target must have the same number of rows, at least 1: got {len(a)} and {len(b)}")
    return a, b


def _compared(
    compare: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], decision: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which decisions are wrong and which labels are known, by the rule that `fit` counts by."""
    numpy = get_backend("numpy")
    with no_grad():
        wrong, known = (t.numpy() for t in compare(Tensor(decision, numpy), Tensor(target, numpy)))
    return wrong & known, known


def error_rate(decision: ArrayLike, target: ArrayLike) -> float:
    """Return the fraction of samples that were put in the wrong class.

    Parameters
    ----------
    decision, target : tensors or arrays
        Class indices of shape (n,), or rows of shape (n, classes) of which the largest element counts, the first of
        equals; or a column (n, 1) of decisions. A row of `target` with NaN in it is missing, and left out; one of
        `decision` is wrong.

    Returns
    -------
    float
        NaN if every target is missing.

    Raises
    ------
    DataError
        If the numbers of rows differ or are 0, or a column holds anything but whole numbers.
    """
    wrong, known = _compared(wrong_classes, *_pair(decision, target))
    return float(_ratio(wrong.sum(), known.sum()))


def accuracy(decision: ArrayLike, target: ArrayLike) -> float:
    """Return the fraction of samples that were put in the right class; see `error_rate`."""
    return 1.0 - error_rate(decision, target)


def confusion_matrix(decision: ArrayLike, target: ArrayLike, n_classes: int | None = None) -> np.ndarray:
    """Return how often class i was decided to be class j, at [i, j].

    Parameters
    ----------
    decision, target : tensors or arrays
        As for `error_rate`.
    n_classes : int, optional
        By default the number of columns, or the largest index and one.

    Returns
    -------
    array of shape (n_classes, n_classes), int64
    """
    _pair(decision, target)
    a, b = _classes(decision, "decision"), _classes(target, "target")
    if np.isnan(_host(decision, "decision")).any():
        raise DataError("confusion_matrix: decision holds NaN, which is no class; leave those rows out")
    columns = [
        h.shape[1] for h in (_host(decision, "decision"), _host(target, "target")) if h.ndim == 2 and h.shape[1] > 1
    ]
    n = n_classes if n_classes is not None else max([*columns, int(max(a.max(), b.max())) + 1])
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= n:
        raise DataError(f"confusion_matrix: classes must be from 0 to {n - 1}")
    counts = np.bincount(b * n + a, minlength=n * n)
    return counts.reshape(n, n).astype(np.int64)


def precision_recall(decision: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall of every label of a multilabel decision.

    Parameters
    ----------
    decision, target : tensors or arrays of shape (n, labels)
        0 or 1; NaN in `target` marks a missing label, which is left out.

    Returns
    -------
    precision, recall : arrays of shape (labels,)
        NaN where a label was never decided, or never true.
    """
    d, t = (_host(values, "precision_recall").astype(float) for values in (decision, target))
    if d.ndim != 2 or d.shape != t.shape:
        raise DataError(f"precision_recall: expected two arrays (n, labels), got {d.shape} and {t.shape}")
    for name, values in (("decision", d), ("target", t)):
        other = np.argwhere(~((values == 0) | (values == 1) | np.isnan(values)))
        if len(other):
            at = tuple(other[0].tolist())
            raise DataError(
                f"precision_recall: {name} must be 0 or 1, got {values[at]} at {list(at)}; decide first, by "
                "net.decide(x), p >= 0.5 or, of signs, s > 0"
            )
    hits = ((d == 1) & (t == 1)).sum(axis=0).astype(float)
    decided, true = ((d == 1) & ~np.isnan(t)).sum(axis=0), (t == 1).sum(axis=0)
    return _ratio(hits, decided), _ratio(hits, true)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b > 0, a / np.maximum(b, 1), np.nan)


def log_loss(probabilities: ArrayLike, target: ArrayLike) -> float:
    """Return the log loss (65.138): the mean of ``-log`` of the probability given to the true class.

    The logarithm is natural; (65.139), which reads it as probabilities of classes, is printed without one.

    Parameters
    ----------
    probabilities : tensor or array of shape (n, classes), or (n,) or (n, 1) for that of class 1 of two
    target : tensor or array
        Class indices (n,) or basis vectors (n, classes).

    Returns
    -------
    float
        Infinite if a true class was given probability 0.
    """
    p = _host(probabilities, "log_loss").astype(float)
    if p.ndim == 2 and p.shape[1] == 1:
        p = p[:, 0]
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    labels = _classes(target, "target")
    if p.ndim != 2 or len(p) != len(labels) or not len(p):
        raise DataError(f"log_loss: expected probabilities of {len(labels)} samples, got shape {p.shape}")
    if (p < 0).any() or (p > 1).any() or labels.min() < 0 or labels.max() >= p.shape[1]:
        raise DataError("log_loss: probabilities must be from 0 to 1, and classes from 0 to the number of columns - 1")
    with np.errstate(divide="ignore"):
        return float(-np.log(p[np.arange(len(p)), labels]).mean())


def entropy(p: ArrayLike) -> np.ndarray | float:
    """Return the entropy ``-sum p log2 p`` of distributions, in bits (65.134).

    Parameters
    ----------
    p : tensor or array of shape (..., outcomes)
        Probabilities along the last axis, where ``0 log2 0`` is 0.

    Returns
    -------
    float, or array of shape (...)
        From 0, for one sure outcome, to log2 of the number of outcomes.

    Raises
    ------
    DataError
        If elements are not from 0 to 1, or do not add up to 1 along the last axis.
    """
    (p,) = _distributions("entropy", p=p)
    return _mean(p, _bits(p))


def cross_entropy(p: ArrayLike, s: ArrayLike) -> np.ndarray | float:
    """Return the cross-entropy ``-sum p log2 s`` of distributions, in bits (65.132), (65.137).

    With `p` a label as a basis vector (65.136) and `s` the probabilities that a network gives (65.135), it is the loss
    (65.128) divided by log 2. `tinygraph.losses.cross_entropy` trains by the latter, of the signals before the softmax.

    Parameters
    ----------
    p, s : tensors or arrays of one shape (..., outcomes)
        Probabilities along the last axis: what is true, and what is taken for it.

    Returns
    -------
    float, or array of shape (...)
        The entropy of `p` and the divergence of `s` from it together (65.133); infinite where ``s = 0 < p``.

    Raises
    ------
    DataError
        As `entropy`; and if the shapes differ.
    """
    p, s = _distributions("cross_entropy", p=p, s=s)
    return _mean(p, _bits(s))


def kl_divergence(p: ArrayLike, s: ArrayLike) -> np.ndarray | float:
    """Return the Kullback-Leibler divergence ``sum p log2(p / s)`` of `s` from `p`, in bits (65.133).

    It is what the cross-entropy exceeds the entropy by: 0 where `s` is `p`, above 0 anywhere else, infinite where
    ``s = 0 < p``. Parameters and errors are those of `cross_entropy`.
    """
    p, s = _distributions("kl_divergence", p=p, s=s)
    return _mean(p, _bits(s) - _bits(np.where(p > 0, p, 1.0)))


def _distributions(caller: str, **distributions: ArrayLike) -> list[np.ndarray]:
    """Return distributions along the last axis, checked, all of one shape."""
    hosts = [_host(values, f"{caller}: {name}").astype(float) for name, values in distributions.items()]
    for name, host in zip(distributions, hosts, strict=True):
        if not host.ndim or not host.size:
            raise DataError(f"{caller}: {name} must have at least one outcome, got shape {host.shape}")
        if host.shape != hosts[0].shape:
            raise DataError(f"{caller}: p and s must have one shape, got {hosts[0].shape} and {host.shape}")
        sums = host.sum(axis=-1)
        wrong = np.argwhere(~((host >= 0).all(axis=-1) & (np.abs(sums - 1) <= SUM_TOLERANCE)))
        if len(wrong):
            at = tuple(wrong[0].tolist())
            place = f" at {list(at)}" if at else ""
            raise DataError(
                f"{caller}: {name} must be probabilities that add up to 1 along the last axis; there is "
                f"{host[at].tolist()}{place}"
            )
    return hosts


def _bits(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log2(probabilities))


def _mean(p: np.ndarray, values: np.ndarray) -> np.ndarray | float:
    """Return the mean of `values` under `p` along the last axis, impossible outcomes left out."""
    mean = (p * np.where(p > 0, values, 0.0)).sum(axis=-1)
    return mean if mean.ndim else float(mean)


def task_errors(decision: ArrayLike, target: ArrayLike) -> np.ndarray:
    """Return the fraction of wrong decisions of every task of a multitask network (65.154)-(65.164).

    Parameters
    ----------
    decision : tensor or array of shape (n, T) or (n, T, 2)
        1 for present, 0 for absent; or pairs (present, absent) of which the larger counts, the first of equals. NaN is
        wrong, whatever the target.
    target : tensor or array of shape (n, T), (n, 2 T) or (n, T, 2)
        1, 0, or NaN for a missing label, which is left out; or label vectors (65.160)-(65.162) of them: pairs
        (present, absent), NaN and NaN where missing. The shape of `decision` tells which.

    Returns
    -------
    array of shape (T,)
        NaN for a task without any label.

    Raises
    ------
    DataError
        If the shapes do not fit, or an element is none of these.
    """
    wrong, known = _task_decisions("task_errors", decision, target)
    return _ratio(wrong.sum(axis=0), known.sum(axis=0))


def multitask_error(decision: ArrayLike, target: ArrayLike) -> float:
    """Return the fraction of wrong decisions over all labels that there are; see `task_errors`."""
    wrong, known = _task_decisions("multitask_error", decision, target)
    return float(_ratio(wrong.sum(), known.sum()))


def task_log_losses(probabilities: ArrayLike, target: ArrayLike) -> np.ndarray:
    """Return the mean of ``-log`` of the probability given to the true answer, for every task.

    Their sum is the risk (65.163) without its regularisation, if no label is missing: each is a mean over the labels
    that its task has, where the risk divides by all samples.

    Parameters
    ----------
    probabilities : tensor or array of shape (n, T) or (n, T, 2)
        That the attribute is present; or pairs (present, absent).
    target : tensor or array of shape (n, T), (n, 2 T) or (n, T, 2)
        As for `task_errors`.

    Returns
    -------
    array of shape (T,)
        NaN for a task without any label, infinite if a true answer was given probability 0.

    Raises
    ------
    DataError
        If the shapes do not fit, or an element is none of these.
    """
    p, t = _tasks("task_log_losses", probabilities, target)
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("task_log_losses: probabilities must be from 0 to 1")
    present = p if p.ndim == 2 else p[:, :, 0]
    known = ~np.isnan(t)
    with np.errstate(divide="ignore"):
        costs = -np.log(np.where(t == 1, present, 1 - present))
    return _ratio(np.where(known, costs, 0.0).sum(axis=0), known.sum(axis=0))


def _tasks(caller: str, answers: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return answers (n, T) or (n, T, 2) and labels (n, T), checked."""
    a = _host(answers, caller).astype(float)
    if a.ndim not in (2, 3) or a.shape[2:] not in ((), (2,)):
        raise DataError(f"{caller}: expected (n, T), one a task, or pairs (n, T, 2), got {a.shape}")
    t = task_labels(_host(target, caller), a.shape[1], caller)
    if len(a) != len(t):
        raise DataError(f"{caller}: expected as many rows as labels have, {len(t)}, got {len(a)}")
    wrong = np.argwhere(~((t == 0) | (t == 1) | np.isnan(t)))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        raise DataError(f"{caller}: labels must be 0, 1, or NaN where missing; there is {t[at]} at {list(at)}")
    return a, t


def _task_decisions(caller: str, decision: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return which decisions are wrong and which labels are there, both of shape (n, T)."""
    d, t = _tasks(caller, decision, target)
    if d.ndim == 3:
        return _compared(wrong_classes, d, np.stack([t, 1 - t], axis=2))
    if not (np.isin(d, (0, 1)) | np.isnan(d)).all():
        raise DataError(f"{caller}: decisions must be 0 or 1, or pairs (present, absent)")
    return _compared(wrong_elements, d, t)


def roc_curve(scores: ArrayLike, same: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many pairs are taken for "same", rightly and wrongly, at every threshold that makes a difference.

    Parameters
    ----------
    scores : tensor or array of shape (n,)
        The larger, the more alike the two of a pair.
    same : tensor or array of shape (n,)
        1 for pairs of one class; 0 or -1 for others.

    Returns
    -------
    false_positives, true_positives : arrays of shape (m + 1,)
        The fractions of different pairs, and of same ones, that score at least the threshold; both rise from 0 to 1.
    thresholds : array of shape (m + 1,)
        Infinity, then the m different scores, falling.

    Raises
    ------
    DataError
        If lengths differ, a score is not finite, or all pairs are of one kind.
    """
    s, positive = _scored("roc_curve", scores, same)
    n_same = int(positive.sum())
    if n_same in (0, len(positive)):
        raise DataError(
            f"roc_curve: expected pairs of both kinds, got {n_same} same and {len(positive) - n_same} different"
        )
    order = np.argsort(-s, kind="stable")
    s, positive = s[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)  # of each run of equal scores
    hits = np.cumsum(positive)[last]
    true = np.concatenate([[0.0], hits / n_same])
    false = np.concatenate([[0.0], (last + 1 - hits) / (len(s) - n_same)])
    return false, true, np.concatenate([[np.inf], s[last]])


def area_under_curve(scores: ArrayLike, same: ArrayLike) -> float:
    """Return the area under `roc_curve`: how likely a same pair scores above a different one, ties counting half."""
    false, true, _ = roc_curve(scores, same)
    return float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())


def equal_error_rate(scores: ArrayLike, same: ArrayLike) -> float:
    """Return the error rate where as many same pairs are rejected as different ones accepted; see `roc_curve`.

    Between two thresholds both fractions are taken to change linearly.
    """
    false, true, _ = roc_curve(scores, same)
    gap = false + true - 1  # accepted wrongly minus rejected wrongly: from -1 to 1, never falling
    after = int(np.argmax(gap >= 0))
    part = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(false[after - 1] + part * (false[after] - false[after - 1]))


def verification_accuracy(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """Return the fraction of pairs told rightly, if "same" is what scores at least `threshold`.

    Parameters
    ----------
    scores, same
        As for `roc_curve`; here all pairs may be of one kind.
    threshold : float
    """
    s, positive = _scored("verification_accuracy", scores, same)
    return float(((s >= threshold) == positive).mean())


def _scored(caller: str, scores: ArrayLike, same: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and whether pairs are of one class, both of shape (n,), checked."""
    s, t = _host(scores, caller).astype(float), _host(same, caller)
    if s.ndim != 1 or s.shape != t.shape or not len(s):
        raise DataError(f"{caller}: expected scores and labels (n,), at least one, got {s.shape} and {t.shape}")
    if not np.isfinite(s).all():
        raise DataError(f"{caller}: a score is not finite")
    if not np.isin(t, (-1, 0, 1)).all():
        raise DataError(f"{caller}: labels must be 1 for a pair of one class, 0 or -1 for others")
    return s, t == 1
