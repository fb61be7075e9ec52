"""The contenders: tinygraph and its peers, each with a function that makes a training step.

A module here is imported only in the process that runs it, since it imports its library.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from tinygraph import __version__
from tinygraph.tools.bench.contenders.training import Events, Make, Training, Unsuitable
from tinygraph.tools.bench.workloads import Workload

__all__ = ["CONTENDERS", "ON_CPU_ONLY", "OWN", "Contender", "Events", "Training", "Unsuitable"]


@dataclass(frozen=True)
class Contender:
    """A contender of the benchmark.

    Attributes
    ----------
    name, title : str
    place : str
        The module in this package and its function that makes a training step from a workload.
    package : str
        The distribution it needs; empty for tinygraph itself, which is here even where it is not installed.
    on_gpu : bool
        Whether its training step can be made for the device "cuda" as well as for "cpu".
    """

    name: str
    title: str
    place: str
    package: str
    on_gpu: bool = False

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

    def training(self, workload: Workload, device: str = "cpu") -> Training:
        """Import the library and return the training step on a device.

        Raises
        ------
        Unsuitable
            If it cannot do this workload, or not there.
        """
        if device != "cpu" and not self.on_gpu:
            raise Unsuitable(ON_CPU_ONLY)
        return self.load()(workload, device) if self.on_gpu else self.load()(workload)


ON_CPU_ONLY = "it computes on the CPU only"
OWN = "tinygraph"  # the contender that all others are compared with

CONTENDERS: dict[str, Contender] = {
    c.name: c
    for c in (
        Contender(OWN, "tinygraph compiled", "tinygraph:compiled", "", on_gpu=True),
        Contender("eager", "tinygraph eager", "tinygraph:eager", "", on_gpu=True),
        Contender("torch", "PyTorch", "pytorch:eager", "torch", on_gpu=True),
        Contender("torch-compile", "torch.compile", "pytorch:compiled", "torch", on_gpu=True),
        Contender("jax", "JAX jit", "jax:jitted", "jax", on_gpu=True),
        Contender("autograd", "HIPS autograd", "autograd:traced", "autograd"),
        Contender("mygrad", "MyGrad", "mygrad:traced", "mygrad"),
        Contender("sklearn", "scikit-learn", "sklearn:classifier", "scikit-learn"),
        Contender("numpy", "NumPy by hand", "handwritten:written_out", "numpy"),
    )
}
