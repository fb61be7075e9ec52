"""The reference shows a declared operation as it is at run time: with its own operands, and with its rule.

mkdocstrings reads sources; there an operation is the function that is its gradient, and its rule stands apart. An error
leads to the section on it, of the page on errors.
"""

import inspect
import re
from importlib import import_module
from typing import Any

import griffe


class Rules(griffe.Extension):
    """Replaces docstrings and parameters of the functions in `tinygraph.ops`, and adds links to errors."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Look at anything that has a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Look at a class once its package is loaded."""
        if cls.module.path == "tinygraph.errors" and cls.docstring is not None and cls.name.endswith("Error"):
            section = cls.name.lower() if cls.name != "TinygraphError" else "troubleshooting"
            cls.docstring.value += f"\n\n[Troubleshooting][{section}] has its texts, and what to do."

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Look at a function once its package is loaded."""
        if not func.module.path.startswith("tinygraph.ops.") or func.parent is not func.module:
            return
        function = getattr(import_module(func.module.path), func.name)
        if func.docstring is not None:
            func.docstring.value = as_markdown(with_rule_first(inspect.getdoc(function) or ""))
        if hasattr(function, "op"):
            kind = griffe.ParameterKind.positional_or_keyword
            operands = inspect.signature(function).parameters
            func.parameters = griffe.Parameters(*(griffe.Parameter(name, kind=kind) for name in operands))


def as_markdown(text: str) -> str:
    """Return a docstring with one colon before code, where reStructuredText has two."""
    return re.sub(r"::$", ":", text, flags=re.MULTILINE)


def with_rule_first(text: str) -> str:
    """Return a docstring with the rule below its first paragraph in place of a note at the end."""
    text, _, rule = text.partition("\n\nNotes\n-----\n")
    summary, _, rest = text.partition("\n\n")
    return "\n\n".join(part for part in (summary, rule, rest) if part)
