"""A small reverse-mode computational-graph framework: build, train and see feedforward networks.

Every operation states its own local backward rule; networks are composed from operations; arrays live on a
pluggable backend. Equation numbers, such as (65.82) for training by mini-batches, point into a textbook chapter
on feedforward neural networks; the documentation maps them to names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import data, losses, metrics, nn, optim
from .autodiff import detect_anomaly, grad
from .backend import backends, manual_seed, use, using
from .checkpoint import load, save
from .derivatives import hessian_diagonal, hvp, jacobian, jvp
from .errors import (
    AnomalyError,
    ArgumentError,
    BackendError,
    CompileError,
    DataError,
    DTypeError,
    GradientError,
    GraphError,
    IndexRangeError,
    RenderError,
    ShapeError,
    TinygraphError,
)
from .gradcheck import gradcheck
from .graph import Graph, graph
from .history import History
from .op import Op
from .ops import (
    Neighborhoods,
    abs,
    add,
    argmax,
    astype,
    batch_norm,
    bernoulli,
    bias,
    broadcast_to,
    clip,
    concatenate,
    cosine_similarity,
    divide,
    divide_or_zero,
    elu,
    equal,
    erf,
    exp,
    gate,
    greater,
    greater_equal,
    identity,
    leaky_relu,
    less,
    less_equal,
    log,
    log_softmax,
    mask,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    neighborhood_matmul,
    norm,
    not_equal,
    pad,
    power,
    relu,
    reshape,
    scaled_tanh,
    sigmoid,
    sigmoid_cross_entropy,
    sign,
    softmax,
    softmax_cross_entropy,
    softplus,
    split,
    sqrt,
    square,
    squared_error,
    stack,
    subtract,
    sum,
    take,
    tanh,
    transpose,
    two_sided_relu,
    var,
    where,
)
from .plan import Plan, compile
from .sensitivities import gradient_norms, own_sensitivities, sensitivities
from .tensor import Tensor, no_grad, parameter, tensor
from .train import evaluate, fit

if TYPE_CHECKING:
    from . import models, tools

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `models` or `tools` when it is first asked for, so that `import tinygraph` does not wait for them."""
    if name in ("models", "tools"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "AnomalyError",
    "ArgumentError",
    "BackendError",
    "CompileError",
    "DTypeError",
    "DataError",
    "GradientError",
    "Graph",
    "GraphError",
    "History",
    "IndexRangeError",
    "Neighborhoods",
    "Op",
    "Plan",
    "RenderError",
    "ShapeError",
    "Tensor",
    "TinygraphError",
    "abs",
    "add",
    "argmax",
    "astype",
    "backends",
    "batch_norm",
    "bernoulli",
    "bias",
    "broadcast_to",
    "clip",
    "compile",
    "concatenate",
    "cosine_similarity",
    "data",
    "detect_anomaly",
    "divide",
    "divide_or_zero",
    "elu",
    "equal",
    "erf",
    "evaluate",
    "exp",
    "fit",
    "gate",
    "grad",
    "gradcheck",
    "gradient_norms",
    "graph",
    "greater",
    "greater_equal",
    "hessian_diagonal",
    "hvp",
    "identity",
    "jacobian",
    "jvp",
    "leaky_relu",
    "less",
    "less_equal",
    "load",
    "log",
    "log_softmax",
    "losses",
    "manual_seed",
    "mask",
    "matmul",
    "max",
    "maximum",
    "mean",
    "metrics",
    "min",
    "minimum",
    "models",
    "multiply",
    "negative",
    "neighborhood_matmul",
    "nn",
    "no_grad",
    "norm",
    "not_equal",
    "optim",
    "own_sensitivities",
    "pad",
    "parameter",
    "power",
    "relu",
    "reshape",
    "save",
    "scaled_tanh",
    "sensitivities",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sign",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "split",
    "sqrt",
    "square",
    "squared_error",
    "stack",
    "subtract",
    "sum",
    "take",
    "tanh",
    "tensor",
    "tools",
    "transpose",
    "two_sided_relu",
    "use",
    "using",
    "var",
    "where",
]
