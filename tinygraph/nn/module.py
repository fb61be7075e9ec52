"""`Module`: parameters and the computation they take part in, composed from smaller ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..arguments import choose
from ..backend import Backend, get_backend
from ..backend.conversion import NATIVE, number_array
from ..errors import ArgumentError, DTypeError, ShapeError
from ..leaves import as_tensor, made_of
from ..mode import enable_grad, mode
from ..notebook import HTML, Displayed, html_table
from ..op import Op
from ..operators import Operand
from ..ops.random import preserved_streams
from ..ops.state import preserved
from ..tensors import Tensor
from ..watchers import Watcher, watching
from .outputs import OUTPUTS, Output
from .paths import place_in, place_parts, scope_of
from .signals import name_signals


class _Results(Watcher):
    """The results of operations, in the order in which they were made."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def made(self, op: Op, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        self.tensors.append(y)


class Module(Displayed):
    """A part of a network; subclass it to write your own.

    Assign parameters (`tinygraph.parameter`) and modules, or lists, tuples and dicts of them to any depth, as
    attributes in ``__init__``; they are found. Write the computation in ``forward``::

        class Residual(nn.Module):
            def __init__(self, n):
                self.inner = nn.Dense(n, n, activation="tanh")

            def forward(self, x):
                return x + self.inner(x)

    A tensor that is not a parameter (a running average) is state: saved and moved, not learned.

    Attributes
    ----------
    training : bool
        The mode of dropout and batch normalisation; `train` and `eval` set it.
    output : str or None
        The output activation that `predict` applies, and with it what `decide` decides: a name of `OUTPUTS`. Classes:
        "softmax". 1 or 0: "sigmoid". 1 or -1: "tanh", "scaled_tanh", and "signed", which predicts z_L itself.
        Nothing: "linear", "softplus", "relu", "leaky_relu", "elu".
    """

    training: bool = True
    output: str | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name == "output" and value is not None and not isinstance(value, str):
            raise ArgumentError(
                f"{type(self).__name__}: .output is the name of the output activation, one of {', '.join(OUTPUTS)}, "
                f"got a {type(value).__name__}; give a module or tensor another name, such as .head"
            )
        if isinstance(value, np.ndarray | list | float | int) and isinstance(vars(self).get(name), Tensor):
            raise ArgumentError(
                f"{type(self).__name__}: .{name} is a tensor, and a {type(value).__name__} in its place would not be "
                f"trained, saved or moved; write into it by .{name}.assign_(value), or set a tinygraph.parameter"
            )
        for label, child in _members([(name, value)]):
            if isinstance(child, Module):
                place_in(self, label, child)
            elif child.role is not None and child.name is None:
                child.name = label
        object.__setattr__(self, name, value)

    if TYPE_CHECKING:  # layers are often set by name

        def __getattr__(self, name: str) -> Any: ...

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; every subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *inputs: object, **options: object) -> Any:
        """Apply the module; plain arrays become tensors of the parameters' dtype and backend."""
        for x in inputs:
            if x.__class__ is not Tensor:
                inputs = self._as_tensors(inputs)
                break
        outer = mode.scope
        mode.scope = scope_of(self, outer)
        try:
            for watcher in mode.watchers:
                inputs = watcher.enters(self, inputs)
            return self.forward(*inputs, **options)
        finally:
            mode.scope = outer

    def _as_tensors(self, inputs: tuple[object, ...]) -> tuple[Any, ...]:
        like = next((t for _, t in self.named_parameters()), None)
        return tuple(
            [_as_input(x, like) if isinstance(x, np.ndarray | np.generic | list | float | int) else x for x in inputs]
        )

    # -- what it holds --------------------------------------------------------------------------------

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules among the attributes with their names, in order of assignment."""
        found = [(label, part) for label, part in self._parts() if isinstance(part, Module)]
        place_parts(self, found)  # some may have been put into a list later than this was set, or copied with it
        return iter(found)

    def _parts(self) -> list[tuple[str, Module | Tensor]]:
        """Return modules and tensors among the attributes with their names, in order of assignment."""
        return _members(vars(self).items())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module ("") and all below it with their dotted paths; a shared one once."""
        seen: set[Module] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if module in seen:
                continue
            seen.add(module)
            yield path, module
            below = [(f"{path}.{label}" if path else label, child) for label, child in module.children()]
            stack.extend(reversed(below))

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield parameters and other state with their dotted paths; a shared tensor once."""
        seen: set[Tensor] = set()
        for path, module in self.named_modules():
            for label, part in module._parts():
                if isinstance(part, Tensor) and part not in seen:
                    seen.add(part)
                    yield (f"{path}.{label}" if path else label), part

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters with their dotted paths, ``("layer1.W", tensor)``; a shared one once."""
        return ((name, t) for name, t in self.named_tensors() if t.role is not None)

    def parameters(self) -> list[Tensor]:
        """Return the parameters, a shared one once."""
        return [t for _, t in self.named_parameters()]

    # -- modes ----------------------------------------------------------------------------------------

    def train(self, training: bool = True) -> Self:
        """Set training mode here and below (dropout masks, batch statistics); return the module."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Set evaluation mode here and below (no masks, running averages); return the module."""
        return self.train(False)

    @contextmanager
    def _in_mode(self, training: bool) -> Iterator[None]:
        """Set training or evaluation mode inside a ``with`` block; every module's own mode comes back."""
        before = [(module, module.training) for _, module in self.named_modules()]
        self.train(training)
        try:
            yield
        finally:
            for module, was in before:
                module.training = was

    def freeze(self) -> Self:
        """Exclude the parameters from training: no gradient is computed for them; return the module."""
        for t in self.parameters():
            t.requires_grad, t.grad = False, None
        return self

    def unfreeze(self) -> Self:
        """Include the parameters in training again; return the module."""
        for t in self.parameters():
            t.requires_grad = True
        return self

    def to(self, backend: str | Backend) -> Self:
        """Move parameters and other state to `backend`, in place; return the module.

        Raises
        ------
        BackendError
            If the backend is unknown or cannot run here; nothing is moved then.
        """
        target = get_backend(backend)
        for _, t in self.named_tensors():
            if t.backend is not target:
                t.data, t.backend, t.grad = target.asarray(t.backend.to_host(t.data)), target, None
        return self

    # -- saving ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of parameters and other state by dotted path; later training does not change them."""
        return {name: copy.deepcopy(t.detach()) for name, t in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, Operand], strict: bool = True) -> None:
        """Write values into parameters and other state, in place.

        Parameters
        ----------
        state : mapping of dotted path to tensor or array
            As `state_dict` returns it.
        strict : bool
            Whether the names must be the same; else those in common are loaded.

        Raises
        ------
        ArgumentError
            If names are missing or unknown; nothing is written then.
        ShapeError, DTypeError
            If a value does not fit; nothing is written then.
        """
        tensors = dict(self.named_tensors())
        missing, unknown = [n for n in tensors if n not in state], [n for n in state if n not in tensors]
        if strict and (missing or unknown):
            differences = [f"missing {', '.join(missing)}"] * bool(missing)
            differences += [f"unknown {', '.join(unknown)}"] * bool(unknown)
            raise ArgumentError(
                f"load_state_dict: the names differ: {'; '.join(differences)}; strict=False loads those in common"
            )
        values = {name: _as_value(name, state[name], t) for name, t in tensors.items() if name in state}
        for name, value in values.items():
            tensors[name].assign_(value)

    def activations(self, *inputs: object) -> dict[str, Tensor]:
        """Return every signal of a forward pass by name (65.30), as (65.31) computes them.

        Parameters
        ----------
        *inputs : tensors or arrays
            What the network is called on; mode and state are left as they were.

        Returns
        -------
        dict of str to tensor
            "y1" is the input ("y1#1", "y1#2" of several); "z2", "y2", ..., "zL" in order of computation, as the
            chapter numbers the layers (see `tinygraph.nn.signals.name_signals` for normalised signals, "v2", and for
            shared modules); where the network has an output activation, "yL" is the prediction.
        """
        points = self._as_tensors(inputs)
        results = _Results()
        state = preserved(t for _, t in self.named_tensors() if t.role is None)
        with state, preserved_streams(), watching(results), enable_grad():
            result = self(*points)
            outcome = None if self.output is None else self._output().activation(result)
        named = {f"y1#{i}" if len(points) > 1 else "y1": t for i, t in enumerate(points, 1)}
        named |= name_signals([*points, *results.tensors], self.named_modules())
        last = next(reversed(named))
        if outcome is not None and last.startswith(("z", "v")):
            named[f"y{last[1:]}"] = outcome
        return named if mode.recording else {name: t.detach() for name, t in named.items()}

    # -- answers --------------------------------------------------------------------------------------

    def predict(self, *inputs: object, train: bool = False) -> Tensor:
        """Return gamma-hat: the output activation of what the network returns (65.31).

        Parameters
        ----------
        *inputs : tensors or arrays
            What the network is called on.
        train : bool
            Compute in training mode; by default in evaluation mode. The mode is left as it was.

        Raises
        ------
        ArgumentError
            If the module has no ``output``.
        """
        output = self._output()
        with self._in_mode(train):
            return output.activation(self(*inputs))

    def decide(self, *inputs: object) -> Tensor:
        """Return gamma-star, the decision that the output activation stands for, in evaluation mode (65.35)-(65.42).

        "softmax": the basis vector of the largest element, the first of equals (65.42). "sigmoid": 1 where the
        prediction is at least 1/2, else 0 (65.36). "tanh", "scaled_tanh", "signed": the sign of the prediction, 1 or
        -1 (65.37); exactly 0 decides 1, as exactly 1/2 does by (65.36). The others decide nothing: the prediction.
        What is compared is z_L, so a signal of -1e-9 decides 0 although its sigmoid is rounded to 1/2.
        `fit` and `evaluate` count errors by these decisions; where z_L is NaN the decision counts as wrong.

        Raises
        ------
        ArgumentError
            If the module has no ``output``.
        """
        output = self._output()
        with self._in_mode(False):
            return output.decide(self(*inputs))

    def _output(self) -> Output:
        if self.output is None:
            raise ArgumentError(
                f"{type(self).__name__} has no output activation; set .output to one of {', '.join(OUTPUTS)}"
            )
        return choose("output", self.output, OUTPUTS)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self.describe()})"]
        for name, child in self.children():
            lines.extend(f"  {line}" for line in f"{name}: {child!r}".splitlines())
        return "\n".join(lines)

    def _display(self) -> dict[str, str]:
        rows = [("module", "class", "parameters", "numbers to learn")]
        for path, module in self.named_modules():
            own = [
                (label, part) for label, part in module._parts() if isinstance(part, Tensor) and part.role is not None
            ]
            words = [f"{label} {part.shape}{'' if part.requires_grad else ' frozen'}" for label, part in own]
            depth = path.count(".") + 1 if path else 0
            kind = f"{type(module).__name__}({module.describe()})"
            learned = sum(part.size for _, part in own if part.requires_grad)
            rows.append(("  " * depth + path.rpartition(".")[2], kind, ", ".join(words), f"{learned:,}" if own else ""))
        total = sum(t.size for t in self.parameters())
        frozen = sum(t.size for t in self.parameters() if not t.requires_grad)
        below = f"{total:,} parameters" + (f", {frozen:,} of them frozen" if frozen else "")
        return {HTML: html_table(rows, numbers=1, title=type(self).__name__, below=below)}

    def describe(self) -> str:
        """Return the facts shown in brackets by ``repr``."""
        return f"output={self.output!r}" if self.output else ""


def _members(
    items: Iterable[tuple[object, object]], prefix: str = "", around: tuple[int, ...] = ()
) -> list[tuple[str, Module | Tensor]]:
    """Return the modules and tensors among `items` with labels: ``layer1``, ``layers.0``, ``blocks.0.left``.

    Lists, tuples and dicts are looked through to any depth; `around` are the ids of those that `items` lie in. No
    generator: an eager step asks for the first parameter.
    """
    found: list[tuple[str, Module | Tensor]] = []
    for key, item in list(items):
        if item.__class__ is Tensor or isinstance(item, Module):
            found.append((f"{prefix}{key}", item))  # pyright: ignore[reportArgumentType]
        elif isinstance(item, (list, tuple, dict)) and id(item) not in around:
            inner = item.items() if isinstance(item, dict) else enumerate(item)
            found += _members(inner, f"{prefix}{key}.", (*around, id(item)))
    return found


def _as_input(value: Any, like: Tensor | None) -> Tensor:
    """Return a plain array as a tensor; floating numbers take dtype and backend of `like`."""
    if like is None:
        return as_tensor(value)
    host = value if type(value) is np.ndarray and value.dtype in NATIVE else number_array(value)
    data = like.backend.asarray(host.astype(like.dtype) if host.dtype.kind == "f" else host)
    return made_of(value, data, like.backend)


def _as_value(name: str, value: Operand, t: Tensor) -> Tensor:
    """Return `value` as a tensor on the backend of `own`, checked for shape and dtype."""
    converted = value.to(t.backend) if isinstance(value, Tensor) else as_tensor(np.asarray(value), t)
    if converted.shape != t.shape:
        raise ShapeError(f"load_state_dict: {name} has shape {t.shape}, the value has {converted.shape}")
    if converted.dtype != t.dtype:
        raise DTypeError(f"load_state_dict: {name} is {t.dtype}, the value is {converted.dtype}; convert it first")
    return converted
