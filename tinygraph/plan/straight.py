"""Straight code: a function written for objects that are known, without loops and without names to look up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .kernels import Names


class Straight(Names):
    """The objects that lines of code name; the lines become a function that finds them in its closure.

    Names that begin with an underscore are free for variables of the lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self._variables: list[str] = []

    def variable(self, value: object) -> str:
        """Return the name of a variable that keeps its value from call to call, and which the lines may set."""
        name = f"v{len(self._variables)}_"
        self._variables.append(name)
        self.objects[name] = value
        return name

    def function(self, name: str, parameters: Sequence[str], lines: Iterable[str]) -> Callable[..., Any]:
        """Return the function of these lines; its name is shown where it raises an error."""
        outer = [f"def make({', '.join(self.objects)}):", f" def _{name}({', '.join(parameters)}):"]
        outer += [f"  nonlocal {variable}" for variable in self._variables]
        source = "\n".join([*outer, *(f"  {line}" for line in lines), f" return _{name}"])
        space: dict[str, Any] = {}
        exec(compile(source, f"<{name}>", "exec"), space)
        function: Callable[..., Any] = space["make"](**self.objects)
        return function


def unpacked(names: Sequence[str], whole: str) -> str:
    """Return the line that names the parts of a sequence; it raises `ValueError` if there are not as many."""
    return f"({''.join(f'{name}, ' for name in names)}) = {whole}"
