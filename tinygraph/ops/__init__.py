"""The operations, one family a file; this module lists the public ones."""

from .activation import (
    elu,
    identity,
    leaky_relu,
    relu,
    scaled_tanh,
    sigmoid,
    softplus,
    tanh,
    two_sided_relu,
)
from .elementwise import (
    abs,
    add,
    astype,
    clip,
    divide,
    divide_or_zero,
    equal,
    erf,
    exp,
    gate,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    sign,
    sqrt,
    square,
    subtract,
    where,
)
from .loss import softmax_cross_entropy, squared_error
from .matmul import bias, matmul
from .reduce import argmax, broadcast_to, max, mean, min, norm, sum, sum_to, var
from .shape import concatenate, pad, reshape, split, stack, take, transpose
from .softmax import log_softmax, softmax
