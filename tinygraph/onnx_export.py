"""Export to ONNX: what a network computes in evaluation mode, as a model that other programs run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import numpy as np

from .autodiff import ancestors
from .errors import ArgumentError, GraphError
from .files import PathLike, write_file
from .graphs import apart, input_shapes, inputs_of, names_of_inputs
from .nn import Module
from .onnx_operations import Length, Step, write_step
from .tensors import Tensor
from .typing import DTypeLike, Shape

__all__ = ["export_onnx"]

OPSET, IR_VERSION = 18, 8  # those of ONNX 1.13, of 2022, which runtimes know by now
TRIALS = (2, 3, 5)  # batches; a length that follows the batch is told by the first two, and checked by the third
LARGEST = 2**31 - 1  # bytes in a file of ONNX


def export_onnx(
    net: Module | Callable[..., object],
    path: PathLike,
    *,
    input_shape: Sequence[object],
    dtype: DTypeLike | Sequence[DTypeLike] | None = None,
    prediction: bool = True,
) -> None:
    """Write what a network computes to `path`, as a model of ONNX, with its weights.

    It is called on trial, in evaluation mode, on three batches of random numbers (of zeros where they are whole), and
    the operations that it applies are written down: dropout scales, batch normalisation takes its running averages.
    What Python decides on the way, a branch or the number of turns of a loop, is as it was then. Written for the
    operators of ONNX 1.13 (opset 18).

    Parameters
    ----------
    net : Module or callable
        Nothing of it is changed.
    path : path
        Conventionally ``*.onnx``; an older file is replaced when the new one is complete.
    input_shape : tuple, or a tuple of tuples for several inputs
        None as the first length is the batch, which may then have any length. The inputs are called as the call
        names them.
    dtype : dtype, or a tuple of one for each input, optional
        Of the inputs: "int64" where indices are expected; by default that of the parameters.
    prediction : bool
        Whether the model returns what `predict` does, called "prediction", where the network has an output activation;
        else what a call returns, the signals z_L, called "output". Several results are numbered: "output1", "output2".

    Raises
    ------
    ArgumentError
        If `input_shape` or `dtype` do not fit, or package onnx is missing: ``pip install "tinygraph[onnx]"``.
    GraphError
        If it uses an operation that ONNX does not know, which is named, or something that a model cannot follow: a
        value that is read on the way (``numpy``, ``detach``).
    DataError
        If the file cannot be written.

    Examples
    --------
    >>> import tinygraph as tg
    >>> net = tg.models.fully_connected([64, 32, 10], seed=0)
    >>> tg.export_onnx(net, "digits.onnx", input_shape=(None, 64))
    """
    try:
        import onnx
    except ImportError as error:
        raise ArgumentError(
            f'export_onnx: needs the package onnx ({error}); install it by: pip install "tinygraph[onnx]"'
        ) from None
    if not callable(net):
        raise ArgumentError(f"export_onnx: expected a module or a function, got a {type(net).__name__}")
    shapes = input_shapes("export_onnx", input_shape)
    names = names_of_inputs(net, len(shapes))
    predicts = prediction and isinstance(net, Module) and net.output is not None
    trials = _trials(net, shapes, names, predicts, dtype)
    held = {t: name for name, t in net.named_tensors()} if isinstance(net, Module) else {}
    model = _Model(onnx, trials, shapes, names, held)
    outputs = _numbered("prediction" if predicts else "output", len(trials[0].outputs))
    content = model.finished(outputs)
    if len(content) > LARGEST:
        raise ArgumentError(f"export_onnx: the weights are more than the 2 GB that a file of ONNX holds: {path}")
    write_file(path, content)


class _Trial:
    """A call: the tensors in the order in which they came about, what went in and what came out."""

    def __init__(self, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.tensors = ancestors(outputs)
        self.place = {t: i for i, t in enumerate(self.tensors)}


def _trials(
    net: Any,
    shapes: list[tuple[int | None, ...]],
    names: list[str],
    predicts: bool,
    dtype: DTypeLike | Sequence[DTypeLike] | None,
) -> list[_Trial]:
    """Call the network in evaluation mode on random numbers, for batches of several lengths."""
    backend, dtypes = inputs_of("export_onnx", net, len(shapes), dtype)
    rng, trials = np.random.default_rng(0), []
    quiet = np.errstate(all="ignore")  # what a logarithm says of a negative number is of no interest
    with apart(), quiet, net._in_mode(False) if isinstance(net, Module) else nullcontext():
        for batch in TRIALS:
            sizes = [[batch if n is None else n for n in shape] for shape in shapes]
            arrays = [
                rng.normal(size=size).astype(kind) if kind.kind == "f" else np.zeros(size, kind)
                for size, kind in zip(sizes, dtypes, strict=True)
            ]
            inputs = [Tensor(backend.asarray(a), backend, name=n) for a, n in zip(arrays, names, strict=True)]
            result = net(*inputs)
            outputs = list(result) if isinstance(result, list | tuple) else [result]
            if not outputs or not all(isinstance(t, Tensor) for t in outputs):
                raise ArgumentError(
                    f"export_onnx: expected a tensor or a sequence of tensors from a call, got {type(result).__name__}"
                )
            if predicts:
                outputs = [net._output().activation(t) for t in outputs]
            trials.append(_Trial(inputs, outputs))
    _check_alike(trials)
    return trials


def _check_alike(trials: list[_Trial]) -> None:
    """Raise an error unless the same operations were applied in the same order."""
    for steps in zip(*(trial.tensors for trial in trials), strict=False):
        inputs = {tuple(trial.place[x] for x in t.inputs) for t, trial in zip(steps, trials, strict=True)}
        if len({type(t.op) for t in steps}) > 1 or len(inputs) > 1:
            break
    else:
        if len({len(trial.tensors) for trial in trials}) == 1:
            return
    raise GraphError(
        "export_onnx: the network applies other operations to batches of other lengths or content; give all lengths in "
        "input_shape, or decide by tg.where"
    )


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}{i + 1}" for i in range(count)]


class _Model:
    """A model of ONNX that is being written, as `onnx_operations.Writer` says."""

    def __init__(
        self,
        onnx: ModuleType,
        trials: list[_Trial],
        shapes: list[tuple[int | None, ...]],
        names: list[str],
        held: dict[Tensor, str],
    ) -> None:
        self.onnx, self.trials = onnx, trials
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._taken: set[str] = set()
        self._constants: dict[tuple[str, Shape, bytes], str] = {}
        self._lengths: dict[Length, str] = {}
        self._path = ""  # of the module whose operation is written
        self.inputs = [self._value(self._new(n), [t.inputs[i] for t in trials]) for i, n in enumerate(names)]
        self._batched = next((i for i, shape in enumerate(shapes) if shape and shape[0] is None), None)
        self._names: dict[int, str] = {}  # of values, by their place in a trial
        for value, t in zip(self.inputs, trials[0].inputs, strict=True):
            if t in trials[0].place:
                self._names[trials[0].place[t]] = value.name
        for place, tensors in enumerate(zip(*(trial.tensors for trial in trials), strict=True)):
            if place not in self._names:
                self._names[place] = self._written(tensors, held)

    def finished(self, outputs: list[str]) -> bytes:
        """Return the model as bytes, checked, with these names of its outputs."""
        self._path = ""
        values = []
        for i, name in enumerate(outputs):
            tensors = [trial.outputs[i] for trial in self.trials]
            made = self._names[self.trials[0].place[tensors[0]]]
            self.nodes.append(self.onnx.helper.make_node("Identity", [made], [self._new(name)]))
            values.append(self._value(self.nodes[-1].output[0], tensors))
        graph = self.onnx.helper.make_graph(self.nodes, "tinygraph", self.inputs, values, self.initializers)
        opset = self.onnx.helper.make_opsetid("", OPSET)
        model = self.onnx.helper.make_model(
            graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="tinygraph"
        )
        if model.ByteSize() <= LARGEST:
            try:
                self.onnx.checker.check_model(model, full_check=True)
            except (self.onnx.checker.ValidationError, self.onnx.shape_inference.InferenceError) as error:
                raise GraphError(f"export_onnx: ONNX has no such model: {' '.join(str(error).split())}") from None
        content: bytes = model.SerializeToString()
        return content

    # -- what operations write --------------------------------------------------------------------------

    def node(self, kind: str, *inputs: str, result: int = 0, **attributes: object) -> str:
        """Add a node; return the name of its result, the first or another by its number."""
        helper = self.onnx.helper
        for key, value in attributes.items():
            if isinstance(value, np.dtype):
                attributes[key] = helper.np_dtype_to_tensor_dtype(value)
            elif isinstance(value, np.ndarray):
                attributes[key] = self.onnx.numpy_helper.from_array(value)
        name = self._new(f"{self._path}{kind}")
        outputs = [*(self._new(f"{name}:") for _ in range(result)), name]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, **attributes))
        return name

    def constant(self, value: object, dtype: DTypeLike = np.int64) -> str:
        """Return the name of a constant; equal ones are one."""
        array = np.asarray(value, dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = self._initializer("constant", array)
        return self._constants[key]

    def lengths(self, shape: Sequence[Length]) -> str:
        """Return the name of a vector of lengths, computed from the batch where they follow it."""
        if all(len(set(length)) == 1 for length in shape):
            return self.constant([length[0] for length in shape])
        parts = [self.constant(n[:1]) if len(set(n)) == 1 else self._following(n) for n in shape]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def _following(self, length: Length) -> str:
        """Return the name of a length that follows the batch."""
        if length not in self._lengths:
            found = _multiple(length)
            if found is None:
                raise GraphError(
                    f"export_onnx: {self._path}a length is {', '.join(map(str, length))} for batches of "
                    f"{', '.join(map(str, TRIALS))}, no multiple of the batch; give all lengths in input_shape"
                )
            factor, more = found
            batch = self.node("Shape", self.inputs[self._batched or 0].name, start=0, end=1)
            scaled = batch if factor == 1 else self.node("Mul", batch, self.constant([factor]))
            self._lengths[length] = scaled if not more else self.node("Add", scaled, self.constant([more]))
        return self._lengths[length]

    # -- values -----------------------------------------------------------------------------------------

    def _written(self, tensors: tuple[Tensor, ...], held: dict[Tensor, str]) -> str:
        """Write what one tensor is, given it in each trial; return its name."""
        first = tensors[0]
        scope = first.scope.path if first.scope is not None else ""
        self._path = f"{scope}." if scope else ""
        if first.op is None:
            return self._leaf(tensors, held)
        inputs = tuple(zip(*(t.inputs for t in tensors), strict=True))
        names = [self._names[self.trials[0].place[x]] for x in first.inputs]
        return write_step(self, Step(tuple(t.op for t in tensors), inputs, tensors), *names)

    def _leaf(self, tensors: tuple[Tensor, ...], held: dict[Tensor, str]) -> str:
        """Write what no operation made: a parameter or a constant, which must be the same in all trials."""
        arrays = [t.numpy() for t in dict.fromkeys(tensors)]
        first = arrays[0]
        if all(a.shape == first.shape and np.array_equal(a, first, equal_nan=a.dtype.kind == "f") for a in arrays):
            name = held.get(tensors[0])
            return self.constant(first, first.dtype) if name is None else self._initializer(name, first)
        fill = first.reshape(-1)[:1]
        if len({a.ndim for a in arrays}) == 1 and first.size and all(np.all(a == fill) for a in arrays):
            shape = list(zip(*(a.shape for a in arrays), strict=True))
            return self.node("Expand", self.constant(fill, first.dtype), self.lengths(shape))
        told = f"{tensors[0].name!r}, " if tensors[0].name else ""
        raise GraphError(
            f"export_onnx: {self._path}{told}a value of shape {first.shape} changes with the input, and no operation "
            "computed it: it was read on the way, by numpy(), detach() or len(); compute it by operations of tinygraph"
        )

    def _initializer(self, name: str, array: np.ndarray) -> str:
        name = self._new(name)
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def _value(self, name: str, tensors: Sequence[Tensor]) -> Any:
        """Return the description of an input or output; lengths that follow the batch have a name, such as B."""
        shape = [n[0] if len(set(n)) == 1 else _word(n) for n in zip(*(t.shape for t in tensors), strict=True)]
        dtype = self.onnx.helper.np_dtype_to_tensor_dtype(tensors[0].dtype)
        return self.onnx.helper.make_tensor_value_info(name, dtype, shape)

    def _new(self, name: str) -> str:
        """Return a name that no value has yet."""
        count, new = 1, name
        while new in self._taken:
            count += 1
            new = f"{name}_{count}"
        self._taken.add(new)
        return new


def _multiple(length: Length) -> tuple[int, int] | None:
    """Return factor and summand of a length that is a multiple of the batch, and so many more; None for any other."""
    factor = (length[1] - length[0]) // (TRIALS[1] - TRIALS[0])
    more = length[0] - factor * TRIALS[0]
    fits = all(factor * batch + more == n for batch, n in zip(TRIALS, length, strict=True))
    return (factor, more) if fits else None


def _word(length: Length) -> str | None:
    """Return what a length that follows the batch is called in the description of a value; None: it is not said."""
    found = _multiple(length)
    if found is None:
        return None
    factor, more = found
    return ("" if factor == 1 else str(factor)) + "B" + (f"{more:+}" if more else "")
