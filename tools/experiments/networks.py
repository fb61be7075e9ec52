"""The network of a run: a fully-connected one as its settings say, or one of one's own, named ``module:Name``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.arguments import did_you_mean
from tinygraph.errors import ArgumentError
from tinygraph.models import fully_connected
from tinygraph.tools.experiments.experiment import Settings


def network(settings: Settings, n_inputs: int, n_outputs: int, output: str) -> nn.Module:
    """Return a new network with these numbers of inputs and outputs, and this output activation."""
    if not settings.own_network:
        sizes = [n_inputs, *settings.hidden_sizes, n_outputs]
        return fully_connected(sizes, settings.activation, output, init=settings.init, seed=settings.seed)
    net = own_network(settings.model, (n_inputs, n_outputs))
    _check_fit(settings.model, net, n_inputs, n_outputs)
    if net.output not in (None, output):
        task = "classes are" if output == "softmax" else "a number is"
        raise ArgumentError(f"{settings.model} has output = {net.output!r}; {task} told by {output!r}")
    net.output = output
    return net


def own_network(model: str, sizes: tuple[int, int] | None) -> nn.Module:
    """Return the network that ``module:Name`` names: a module, or a class or function that makes one.

    It is called with the numbers of inputs and outputs if it takes two arguments, and with none otherwise. The module
    is imported from the current folder or from where Python finds it, which runs its code.

    Raises
    ------
    ArgumentError
        If there is no such thing, it fails, or makes no network; in one line.
    """
    place, _, name = model.partition(":")
    with told(model, f"importing {place}"), _current_folder_first():
        try:
            thing: Any = import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
            raise ArgumentError(
                f"{model}: there is no module {place!r}, neither in this folder nor installed"
            ) from None
    if not hasattr(thing, name):
        public = [n for n in vars(thing) if not n.startswith("_")]
        raise ArgumentError(f"{model}: the module {place} has no {name!r}{did_you_mean(name, public)}")
    thing = getattr(thing, name)
    if not isinstance(thing, nn.Module):
        arguments = _arguments(model, thing, sizes)
        with told(model, f"{name}({', '.join(map(str, arguments))})"):
            thing = thing(*arguments)
    if not isinstance(thing, nn.Module):
        raise ArgumentError(f"{model}: expected a network, an nn.Module, got a {type(thing).__name__}")
    return thing


def _arguments(model: str, make: Any, sizes: tuple[int, int] | None) -> tuple[int, ...]:
    """Return what to call a class or function with."""
    if not callable(make):
        raise ArgumentError(f"{model}: expected a network, or what makes one, got a {type(make).__name__}")
    with told(model, "its signature"):
        signature = inspect.signature(make)
    for arguments in ((sizes,) if sizes is not None else ()) + ((),):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return arguments
    if sizes is None:
        raise ArgumentError(f"{model} takes the numbers of inputs and outputs; say with --data for which data it is")
    raise ArgumentError(f"{model} must take two arguments, the numbers of inputs and outputs, or none")


def _check_fit(model: str, net: nn.Module, n_inputs: int, n_outputs: int) -> None:
    """Raise an error unless a network makes `n_outputs` numbers of `n_inputs`."""
    if next(iter(net.parameters()), None) is None:
        raise ArgumentError(f"{model}: the network has no parameters to train")
    x = np.zeros((2, n_inputs), np.float32)
    training = net.training
    with told(model, f"called with an input of shape {x.shape}, it"), tg.no_grad():
        z = net.eval()(x)
        net.train(training)
        shape = z.shape
    if shape != (2, n_outputs):
        raise ArgumentError(f"{model}: for an input {x.shape} expected an output (2, {n_outputs}), got {shape}")


@contextmanager
def told(model: str, what: str) -> Iterator[None]:
    """Turn whatever a network of one's own raises into one line."""
    try:
        yield
    except ArgumentError as error:
        if str(error).startswith(model):
            raise
        raise ArgumentError(f"{model}: {what} failed: {error}") from error
    except (Exception, SystemExit) as error:  # a script that is no module may end the program
        text = " ".join(str(error).split())
        raise ArgumentError(f"{model}: {what} failed: {type(error).__name__}: {text}") from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Let Python look for modules in the current folder, as it does for a script there."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
