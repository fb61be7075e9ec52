"""A small reverse-mode computational-graph framework: build, train and see feedforward networks.

Every operation states its own local backward rule; networks are composed from operations; arrays live on a
pluggable backend. Equation numbers, such as (65.82) for training by mini-batches, point into a textbook chapter
on feedforward neural networks; the documentation maps them to names.
"""

import types
import typing as _typing  # `tinygraph.typing` is a module of ours
from importlib import import_module

from . import data as data
from . import losses as losses
from . import metrics as metrics
from . import nn as nn
from . import optim as optim
from .allocation import *
from .anomaly import *
from .autodiff import *
from .backend import backends as backends
from .backend import manual_seed as manual_seed
from .backend import use as use
from .backend import using as using
from .checkpoint import *
from .counterparts import no_attribute
from .creation import *
from .derivatives import *
from .errors import *
from .gradient_check import *
from .graphs import *
from .leaves import *
from .mapping import *
from .mode import *
from .onnx_export import *
from .op import *
from .ops import *
from .plan import Plan as Plan
from .plan import compile as compile
from .sensitivity import *
from .tensors import *
from .train import *

if _typing.TYPE_CHECKING:
    from . import models as models
    from . import plots as plots
    from . import tools as tools
    from .tools.runs import load_run as load_run

__version__ = "0.1.0"
_LATER = ("models", "plots", "tools")


def __getattr__(name: str) -> _typing.Any:
    """Import `models`, `plots` or `tools` when it is first asked for: `import tinygraph` does not wait for them."""
    if name in _LATER:
        return import_module(f"{__name__}.{name}")
    if name == "load_run":
        return import_module(f"{__name__}.tools.runs").load_run
    raise no_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), "load_run", *_LATER})


if not _typing.TYPE_CHECKING:  # type checkers follow the star imports, and know only lists that are written out
    __all__ = [n for n, it in globals().items() if n[0] != "_" and not isinstance(it, types.ModuleType)]
    __all__ = [n for n in __all__ if n not in ("import_module", "no_attribute")]
    __all__ += ["data", "load_run", "losses", "metrics", "nn", "optim", *_LATER]
