"""tinygraph."""
from .backend import backends, manual_seed, use, using
from .tensor import Tensor, no_grad, parameter, tensor
from .op import Op
from .ops import *
from . import autodiff
