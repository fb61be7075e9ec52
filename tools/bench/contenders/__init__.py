"""Who takes part: tinygraph and its peers, each with a function that makes a training step.

A module here is imported only in the process that runs it, since it imports its library.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from tinygraph import __version__
from tinygraph.tools.bench.contenders.training import Make, Training, Unsuitable

__all__ = ["CONTENDERS", "OWN", "Contender", "Training", "Unsuitable"]


@dataclass(frozen=True)
class Contender:
    """One who takes part.

    Attributes
    ----------
    name, title : str
    place : str
        The module in this package and its function that makes a training step from a workload.
    package : str
        The distribution it needs; empty for tinygraph itself, which is here even where it is not installed.
    """

    name: str
    title: str
    place: str
    package: str

    @property
    def version(self) -> str | None:
        """The version of its package, None if that is not installed."""
        try:
            return version(self.package) if self.package else __version__
        except PackageNotFoundError:
            return None

    def load(self) -> Make:
        """Import the library and return the function that makes a training step."""
        module, _, function = self.place.partition(":")
        make: Make = getattr(import_module(f"{__name__}.{module}"), function)
        return make


OWN = "tinygraph"  # the contender that all others are compared with

CONTENDERS: dict[str, Contender] = {
    c.name: c
    for c in (
        Contender(OWN, "tinygraph compiled", "tinygraph:compiled", ""),
        Contender("eager", "tinygraph eager", "tinygraph:eager", ""),
        Contender("torch", "PyTorch", "pytorch:eager", "torch"),
        Contender("torch-compile", "torch.compile", "pytorch:compiled", "torch"),
        Contender("jax", "JAX jit", "jax:jitted", "jax"),
        Contender("autograd", "HIPS autograd", "autograd:traced", "autograd"),
        Contender("mygrad", "MyGrad", "mygrad:traced", "mygrad"),
        Contender("sklearn", "scikit-learn", "sklearn:classifier", "scikit-learn"),
        Contender("numpy", "NumPy by hand", "handwritten:written_out", "numpy"),
    )
}
