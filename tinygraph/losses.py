"""Losses and regularisers.

Every loss is the mean over the batch of the loss Q of a sample, a tensor with one element. A loss that takes logits
is given the signals z_L before the output activation, ``net(x)``; the others the prediction gamma-hat,
``net.predict(x)`` (`takes_logits` tells which). Logarithms are natural.

Samples may have weights w. The mean is then ``sum_b w_b Q_b / B``: it divides by the number of samples, so a weight
counts even in a batch of one. PyTorch's losses with class weights divide by the sum of the weights instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce, update_wrapper
from typing import TYPE_CHECKING, Generic, Literal, NoReturn, ParamSpec

from .arguments import check_name, positive
from .counterparts import no_attribute
from .errors import GraphError, ShapeError
from .labels import BINARY, CLASSES, REAL, SIGNS, TASKS, Labels, number_of_tasks
from .leaves import as_tensor, filled_like
from .nn import Module
from .operators import Operand
from .ops.activation import softplus
from .ops.elementwise import abs as absolute
from .ops.elementwise import add, equal, square, where
from .ops.loss import sigmoid_cross_entropy, softmax_cross_entropy
from .ops.loss import squared_error as squared_error_op
from .ops.reduce import in_single, norm
from .ops.reduce import sum as total
from .ops.shape import reshape
from .tensors import Tensor

P = ParamSpec("P")


class Loss(Generic[P]):
    """A function of output and target that says what training must know of it.

    Every loss of this module is one. One of your own becomes one by ``Loss(function, "logits")``, and `fit` then gives
    it what it takes, counts wrong decisions and checks labels.

    Parameters
    ----------
    compute : callable
        ``compute(output, target, **options)`` returns the mean over the batch, a tensor with one element.
    takes : {"logits", "prediction"}
        What `output` is: the signals z_L before the output activation, or the prediction gamma-hat.
    labels : Labels
        What `target` may hold; see `tinygraph.labels`. By default real numbers, none of them missing.
    """

    __name__: str

    def __init__(
        self, compute: Callable[P, Tensor], takes: Literal["logits", "prediction"], labels: Labels = REAL
    ) -> None:
        check_name("Loss: takes", takes, ("logits", "prediction"))
        update_wrapper(self, compute)
        self.compute, self.takes, self.labels = compute, takes, labels

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        return self.compute(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<loss {self.__name__} of {self.takes}>"

    def __reduce__(self) -> str:
        return self.__name__  # pickled and copied by name, as functions are


def as_loss(function: Callable[..., Tensor]) -> Loss[object] | None:
    """Return the `Loss` that a function is, options filled in by ``functools.partial`` or not; None for any other."""
    loss = function.func if isinstance(function, partial) else function
    return loss if isinstance(loss, Loss) else None


def takes_logits(loss: Callable[..., Tensor]) -> bool | None:
    """Return whether a `Loss` is given logits; None for any other function.

    Options may be filled in: ``functools.partial(losses.huber, delta=0.5)`` is a loss of predictions.
    """
    declared = as_loss(loss)
    return None if declared is None else declared.takes == "logits"


def _of_logits(labels: Labels) -> Callable[[Callable[P, Tensor]], Loss[P]]:
    return lambda compute: Loss(compute, "logits", labels)


def _of_prediction(labels: Labels) -> Callable[[Callable[P, Tensor]], Loss[P]]:
    return lambda compute: Loss(compute, "prediction", labels)


@_of_prediction(REAL)
def squared_error(output: Operand, target: Operand, weights: Operand | None = None) -> Tensor:
    """Return the mean over the batch of the squared distance ``|target - output|**2`` (65.48), as in the risk (65.47).

    Parameters
    ----------
    output : tensor of shape (B, ...)
        The prediction gamma-hat.
    target : tensor or array of the same shape and dtype
    weights : tensor or array of shape (B,), optional
        What each sample counts; by default 1.

    Raises
    ------
    ShapeError
        If the shapes differ or the batch is empty.
    """
    output = as_tensor(output)
    target = REAL.aligned(target, output)
    if weights is None:
        return squared_error_op(output, target)
    _check_same_shape("squared_error", output, target)
    return _batch_mean("squared_error", square(in_single(output - target)), weights).astype(output.dtype)


@_of_logits(CLASSES)
def cross_entropy(
    logits: Operand, target: Operand, weights: Operand | None = None, class_weights: Operand | None = None
) -> Tensor:
    """Return the mean over the batch of the cross-entropy ``-sum target log softmax(logits)`` (65.128).

    With labels as basis vectors it is the risk (65.127), without its regularisation, and the log loss (65.138).

    Parameters
    ----------
    logits : tensor of shape (B, classes)
        The signals z_L before the softmax.
    target : tensor or array
        One row of class probabilities for each sample, a basis vector for a label (65.125), of shape (B, classes);
        or class indices of shape (B,), whole numbers from 0 to classes - 1.
    weights : tensor or array of shape (B,), optional
        What each sample counts; by default 1.
    class_weights : tensor or array of shape (classes,), optional
        What samples of each class count besides; by default 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit or the batch is empty.
    DataError
        If a class index on the host is out of range.
    """
    logits = as_tensor(logits)
    target = CLASSES.aligned(target, logits)  # the loss is linear in it, so it can bear the weights
    if weights is not None:
        target = target * _of_samples("cross_entropy", weights, target)
    if class_weights is not None:
        by_class = as_tensor(class_weights, target).astype(target.dtype)
        if by_class.shape != target.shape[1:]:
            raise ShapeError(
                f"cross_entropy: expected {target.shape[-1]} class weights, one a class, got shape {by_class.shape}"
            )
        target = target * by_class
    return softmax_cross_entropy(logits, target)


@_of_logits(BINARY)
def binary_cross_entropy(
    logits: Operand, target: Operand, valid: Operand | None = None, weights: Operand | None = None
) -> Tensor:
    """Return the mean over the batch of the labels' binary cross-entropies, added up.

    Of one label it is the risk of binary labels (65.131), with gamma-hat(1) the sigmoid of one output instead of the
    first of two softmax outputs; of several it adds up the tasks as (65.154) does, a single output for each.

    Parameters
    ----------
    logits : tensor of shape (B, labels) or (B,)
        The signals z_L before the sigmoids.
    target : tensor or array of the same shape and dtype
        0 or 1, or a probability; NaN marks a missing label.
    valid : tensor or array of the same shape, optional
        0 marks a missing label, 1 one that is there. A missing label adds nothing to loss or gradient.
    weights : tensor or array of shape (B,), optional
        What each sample counts; by default 1.

    Raises
    ------
    ShapeError
        If the shapes differ or the batch is empty.
    """
    z = as_tensor(logits)
    t = BINARY.aligned(target, z)
    _check_same_shape("binary_cross_entropy", z, t)
    known = equal(t, t)  # NaN is not equal to itself
    if valid is not None:
        known = where(known, as_tensor(valid, z) != 0, filled_like(known, 0))
    cost = sigmoid_cross_entropy(z, where(known, t, 0.0))
    return _batch_mean("binary_cross_entropy", where(known, cost, 0.0), weights)


@_of_logits(TASKS)
def multitask_cross_entropy(logits: Operand, target: Operand, weights: Operand | None = None) -> Tensor:
    """Return the mean over the batch of the cross-entropies of T softmax pairs, added up (65.154), (65.163).

    Parameters
    ----------
    logits : tensor of shape (B, 2 T) or (B, T, 2)
        The signals before the softmax pairs (65.155): task t has columns 2 t, for "present", and 2 t + 1, for "absent".
    target : tensor or array
        One label a task, of shape (B, T): 1 for present, 0 for absent, NaN for missing. Or the aggregate label vectors
        (65.160)-(65.162), of shape (B, 2 T) or (B, T, 2): pairs (1, 0) for present, (0, 1) for absent, (NaN, NaN) for
        missing. The width of the logits tells which. A missing label adds nothing to loss or gradient (65.164); a batch
        without any label of a task, or of all, is fine.
    weights : tensor or array of shape (B,), optional
        What each sample counts; by default 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit or the batch is empty.
    DataError
        If labels on the host are not from 0 to 1, or a pair does not add up to 1 or is missing by half. On a device, a
        pair missing by half counts as missing.
    """
    z = as_tensor(logits)
    pairs = (z.shape[0], number_of_tasks(z), 2)
    signals, labels = reshape(z, pairs), reshape(TASKS.aligned(target, z), pairs)
    present, absent = labels[:, :, 0], labels[:, :, 1]
    known = equal(absent, absent)  # NaN is not equal to itself
    # A softmax of two is a sigmoid of their difference.
    differences = signals[:, :, 0] - signals[:, :, 1]
    return binary_cross_entropy(differences, where(known, present, absent), weights=weights)


@_of_prediction(REAL)
def huber(output: Operand, target: Operand, delta: float = 1.0, weights: Operand | None = None) -> Tensor:
    """Return the mean over the batch of the Huber loss of the error vector ``e = target - output`` (Prob. 65.17).

    It is ``|e|**2 / (2 delta)`` where ``|e| <= delta`` and ``|e| - delta / 2`` beyond, with the Euclidean norm of a
    row; value and slope are continuous, and the slope ends at 1. PyTorch's ``smooth_l1_loss`` with ``beta = delta`` has
    this scale, element by element. The field's Huber loss, `huber_1964`, is `delta` times as large.

    Parameters
    ----------
    output, target : tensors of one shape (B, n) or (B,)
    delta : float
        Positive: the size of an error above which it is an outlier.
    weights : tensor or array of shape (B,), optional
        What each sample counts; by default 1.

    Raises
    ------
    ShapeError
        If the shapes differ or the batch is empty.
    ArgumentError
        If `delta` is not above 0.
    """
    return _huber("huber", output, target, delta, weights)


@_of_prediction(REAL)
def huber_1964(output: Operand, target: Operand, delta: float = 1.0, weights: Operand | None = None) -> Tensor:
    """Return the Huber loss as Huber (1964) and PyTorch's ``huber_loss`` scale it: `delta` times `huber`.

    It is ``|e|**2 / 2`` where ``|e| <= delta`` and ``delta (|e| - delta / 2)`` beyond, with the Euclidean norm of a
    row; PyTorch takes it element by element. Parameters and errors are those of `huber`.
    """
    return _huber("huber_1964", output, target, delta, weights) * delta


def _huber(caller: str, output: Operand, target: Operand, delta: float, weights: Operand | None) -> Tensor:
    output = as_tensor(output)
    target = REAL.aligned(target, output)
    _check_same_shape(caller, output, target)
    delta = positive(f"{caller}: delta", delta)
    e = reshape(output - target, (output.shape[0], -1))
    size = norm(e, -1)
    cost = where(size <= delta, total(square(e), -1) * (0.5 / delta), size - 0.5 * delta)
    return _batch_mean(caller, cost, weights)


@_of_prediction(SIGNS)
def logistic(output: Operand, sign: Operand, weights: Operand | None = None) -> Tensor:
    """Return the mean over the batch of ``log(1 + exp(-sign output))``, added up over columns (Prob. 65.18).

    As in the problem, `output` is the prediction gamma-hat, from -1 to 1 for a network with tanh at its output, so the
    loss of a sample is never below ``log(1 + exp(-1))``, 0.3133. The field's custom is to take it of the signal before
    the output activation, which has no such bound: `logistic_with_logits`.

    Parameters
    ----------
    output : tensor of shape (B,) or (B, n)
        The prediction gamma-hat.
    sign : tensor or array of the same shape and dtype
        The labels, -1 or 1.
    weights : tensor or array of shape (B,), optional
        What each sample counts; by default 1.

    Raises
    ------
    ShapeError
        If the shapes differ or the batch is empty.
    """
    return _logistic("logistic", output, sign, weights)


@_of_logits(SIGNS)
def logistic_with_logits(logits: Operand, sign: Operand, weights: Operand | None = None) -> Tensor:
    """Return the mean over the batch of ``log(1 + exp(-sign logits))``, added up over columns: logistic regression's.

    It is PyTorch's ``SoftMarginLoss`` of one column, and `binary_cross_entropy` for labels of -1 and 1. The risk of the
    chapter takes the prediction instead: `logistic`, which has the same parameters and errors.
    """
    return _logistic("logistic_with_logits", logits, sign, weights)


def _logistic(caller: str, scores: Operand, sign: Operand, weights: Operand | None) -> Tensor:
    z = as_tensor(scores)
    labels = SIGNS.aligned(sign, z)
    _check_same_shape(caller, z, labels)
    return _batch_mean(caller, softplus(-(labels * z)), weights)


def _batch_mean(caller: str, cost: Tensor, weights: Operand | None) -> Tensor:
    """Return the weighted sum of all elements over the batch's length; of half precision, summed up in single."""
    wide = in_single(cost)
    if weights is not None:
        wide = wide * _of_samples(caller, weights, wide)
    return (total(wide) * (1.0 / cost.shape[0])).astype(cost.dtype)


def _of_samples(caller: str, weights: Operand, cost: Tensor) -> Tensor:
    """Return the weights of samples in the dtype of `cost`, in a shape that meets its first axis."""
    w = as_tensor(weights, cost)
    if w.shape != cost.shape[:1]:
        raise ShapeError(f"{caller}: expected {cost.shape[0]} weights, one a sample, got shape {w.shape}")
    return reshape(w.astype(cost.dtype), (-1, *[1] * (cost.ndim - 1)))


def _check_same_shape(caller: str, output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise ShapeError(f"{caller}: output and target must have one shape, got {output.shape} and {target.shape}")
    if not output.ndim or not output.size:
        raise ShapeError(f"{caller}: the batch is empty: output has shape {output.shape}")


def _weights(net: Module, caller: str) -> list[Tensor]:
    weights = [t for t in net.parameters() if t.role == "weight"]
    if not weights:
        raise GraphError(f"{caller}: the network has no parameters of role 'weight'")
    return weights


def l2(net: Module, rho: float) -> Tensor:
    """Return ``rho`` times the sum of the squared weights (65.46), (65.47), never of biases.

    A weight that two layers share counts once. In the sum over layers of an autoencoder with ``W_2 = W_1^T``
    (Prob. 65.16) it would count twice: double `rho` for that.

    Parameters
    ----------
    net : Module
    rho : float
        At least 0.
    """
    rho = positive("l2: rho", rho, zero=True)
    return rho * reduce(add, [total(square(W)) for W in _weights(net, "l2")])


def l1(net: Module, alpha: float) -> Tensor:
    """Return the L1 regularisation of Prob. 65.15: ``alpha`` times the sum of absolute weights, never of biases.

    Its gradient is ``alpha sign(W)``, 0 where a weight is 0; a shared weight counts once.

    Parameters
    ----------
    net : Module
    alpha : float
        At least 0.
    """
    alpha = positive("l1: alpha", alpha, zero=True)
    return alpha * reduce(add, [total(absolute(W)) for W in _weights(net, "l1")])


def elastic(net: Module, rho: float, alpha: float) -> Tensor:
    """Return `l2` with factor `rho` and `l1` with factor `alpha` together: the elastic net, not in the chapter."""
    return l2(net, rho) + l1(net, alpha)


if not TYPE_CHECKING:  # a type checker knows by itself what is not there

    def __getattr__(name: str) -> NoReturn:
        raise no_attribute(__name__, name)
