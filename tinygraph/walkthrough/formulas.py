"""What an operation computes, and its local backward rule, set as mathematics.

A line of text such as ``dz = dy (1 - y**2)`` becomes a list of MathML's elements, each with its text or with the
elements in it: ``["mi", "z"]``, ``["msup", [["mi", "y"], ["mn", "2"]]]``. A browser makes them anew, so whatever
an own operation's rule holds is text to it. What is no mathematics stays words.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from ..record import Node

Element = list[Any]

FORMULAS = {
    "abs": "y = abs(x)",
    "add": "y = a + b",
    "argmax": "y = the index of the largest of x",
    "argmin": "y = the index of the smallest of x",
    "argsort": "y = the places of x in order",
    "batch_norm": "v = a (z - mean) / sqrt(var + eps) - theta",
    "bias": "z = y - theta",
    "broadcast_to": "y = x, repeated",
    "cast": "y = x in another dtype",
    "causal_mask": "y = 1 where j <= i, 0 elsewhere",
    "clip": "y = x, limited to the interval",
    "concatenate": "y = the inputs, one behind the other",
    "corrected_rate": "y = mu sqrt(1 - power2) / (1 - power1)",
    "cos": "y = cos(x)",
    "cumsum": "y = the sums of x up to each place",
    "divide": "y = a / b",
    "divide_or_zero": "y = a / b, 0 where b = 0",
    "elu": "y = z where z >= 0, alpha (exp(z) - 1) elsewhere",
    "equal": "y = 1 where a = b, 0 elsewhere",
    "erf": "y = erf(x)",
    "exp": "y = exp(x)",
    "expm1": "y = exp(x) - 1",
    "gate": "y = x where z > 0, 0 elsewhere",
    "gelu": "y = z P(z), P of the standard normal distribution",
    "greater": "y = 1 where a > b, 0 elsewhere",
    "greater_equal": "y = 1 where a >= b, 0 elsewhere",
    "grid_neighborhoods": "x = the nodes of each square, in a row",
    "identity": "y = z",
    "index": "y = x at the picked places",
    "layer_norm": "v = a (z - mean) / sqrt(var + eps) - theta",
    "leaky_relu": "y = z where z > 0, alpha z elsewhere",
    "less": "y = 1 where a < b, 0 elsewhere",
    "less_equal": "y = 1 where a <= b, 0 elsewhere",
    "log": "y = log(x)",
    "log1p": "y = log(1 + x)",
    "log_softmax": "y = z - log(sum(exp(z)))",
    "log_sum_exp": "y = log(sum(exp(x)))",
    "logical_and": "y = a and b",
    "logical_not": "y = not x",
    "logical_or": "y = a or b, or both",
    "logical_xor": "y = a or b, not both",
    "mask": "x = y a",
    "matmul": "y = a b",
    "max": "y = the largest of x",
    "maximum": "y = max(a, b)",
    "mean": "y = sum(x) / n",
    "min": "y = the smallest of x",
    "minimum": "y = min(a, b)",
    "multiply": "y = a b",
    "negative": "y = -x",
    "neighborhood_matmul": "z_j = sum_i w_ij y_i, at the edges only",
    "norm": "y = sqrt(sum(x**2))",
    "normal": "y = normal random numbers of mean 0 and variance 1",
    "not_equal": "y = 0 where a = b, 1 elsewhere",
    "over_root": "y = m / (sqrt(s) + eps)",
    "pad": "y = x with a border",
    "power": "y = a**b",
    "prod": "y = the product of x",
    "relu": "y = max(0, z)",
    "reshape": "y = x in another shape",
    "scaled_tanh": "y = a tanh(b z)",
    "selu": "y = s z where z >= 0, s alpha (exp(z) - 1) elsewhere",
    "sigmoid": "y = 1 / (1 + exp(-z))",
    "sigmoid_cross_entropy": "y = log(1 + exp(z)) - t z",
    "sign": "y = sign(x)",
    "silu": "y = z sigmoid(z)",
    "sin": "y = sin(x)",
    "softmax": "y_i = exp(z_i) / sum_j exp(z_j)",
    "softmax_cross_entropy": "y = -sum(target log(softmax(z))) / B",
    "softplus": "y = log(1 + exp(z))",
    "softsign": "y = z / (1 + |z|)",
    "sqrt": "y = sqrt(x)",
    "square": "y = x**2",
    "squared_error": "y = sum((target - output)**2) / B",
    "subtract": "y = a - b",
    "scaled_sum": "y = a u + b w",
    "subtract_scaled": "y = p - mu d",
    "sum": "y = sum(x)",
    "take_along_axis": "y = x at the picked places",
    "tanh": "y = tanh(z)",
    "transpose": "y = x'",
    "tril": "y = x on and below the diagonal, 0 elsewhere",
    "triu": "y = x on and above the diagonal, 0 elsewhere",
    "two_sided_relu": "y = z where z > 0, alpha z elsewhere",
    "uniform": "y = random numbers, 0 <= y < 1",
    "where": "y = a where the condition holds, b elsewhere",
}
OPERANDS = {  # where neither the rule nor the formula tells them
    "batch_norm": "z a theta",
    "bias": "y theta",
    "clip": "x",
    "gate": "x z",
    "index": "x",
    "layer_norm": "z a theta",
    "logical_and": "a b",
    "logical_not": "x",
    "logical_or": "a b",
    "logical_xor": "a b",
    "mask": "y a",
    "maximum": "a b",
    "minimum": "a b",
    "take_along_axis": "x i",
    "tril": "x",
    "triu": "x",
    "where": "condition a b",
}
GREEK = ("alpha", "beta", "gamma", "delta", "eps", "eta", "lambda", "mu", "nu", "pi", "rho", "sigma", "tau", "theta")
LETTERS = {name: html.unescape(f"&{name.replace('eps', 'epsilon')};") for name in GREEK}
# fmt: off
FUNCTIONS = {
    "abs", "cos", "diag", "erf", "exp", "log", "max", "min", "sigmoid", "sign", "sin", "softmax", "sqrt", "sum", "tanh",
}
# fmt: on
NAMES = {"output", "target", "mean", "var", "ddof", "condition"}
WORD = r"[^\W\d]\w*"
TOKENS = re.compile(rf"\s+|\d+(?:\.\d+)?|{WORD}|\*\*|>=|<=|.", re.DOTALL)
LONGEST = 400  # characters of a rule that are shown


def formula_of(node: Node) -> str:
    """Return in a line of text what an operation computes."""
    written = FORMULAS.get(node.op)
    if written is None:
        return f"y = {node.op}({', '.join(operands_of(node))})"
    if node.op == "matmul":
        a, b = ("'" if f"transpose_{x}=True" in node.label else "" for x in "ab")
        return f"y = a{a} b{b}"
    return written


def operands_of(node: Node) -> list[str]:
    """Return what the formula and the rule of an operation call its inputs."""
    if node.op in OPERANDS:
        names = OPERANDS[node.op].split()
    else:
        names = list(dict.fromkeys(re.findall(rf"\bd({WORD}) =", node.rule)))
        if len(names) != len(node.inputs):  # by no rule
            formula = re.findall(WORD, FORMULAS.get(node.op, ""))
            names = [x for x in dict.fromkeys(formula[1:]) if x in ("a", "b", "x", "z")]
    return names if len(names) == len(node.inputs) else [f"x{i + 1}" for i in range(len(node.inputs))]


def output_of(node: Node) -> str:
    """Return what the formula of an operation calls its result."""
    name = re.match(WORD, formula_of(node))
    return name[0].partition("_")[0] if name else "y"


def typeset(line: str) -> list[Element]:
    """Return a line of text as elements of MathML."""
    elements: list[Element] = []
    words: list[str] = []
    outer: list[tuple[list[Element], Element]] = []  # what stands before an exponent in brackets, and its base
    raised = spaced = False
    for token in TOKENS.findall(line[:LONGEST] + (" …" if len(line) > LONGEST else "")):
        element = _element(token)
        if element is None:  # a word, or space between two
            if token.strip() or words:
                words.append(token)
            spaced = True
            continue
        if words:
            elements.append(["mtext", _spaced(words, bool(elements))])
            words = []
        if element[1] == "**":
            raised = bool(elements)
        elif element[1] == "'" and elements:
            elements.append(["msup", [elements.pop(), ["mi", "T"]]])
        elif raised:
            base = elements.pop()
            raised = False
            if element[1] == "(":
                outer.append((elements, base))
                elements = []
            else:
                elements.append(["msup", [base, element]])
        elif outer and element[1] == ")" and not any(x[1] == "(" for x in elements):
            exponent = ["mrow", elements]
            elements, base = outer.pop()
            elements.append(["msup", [base, exponent]])
        else:
            if spaced and elements and _is_factor(elements[-1], ")") and _is_factor(element, "("):
                elements.append(["mtext", "\u2009"])  # a product
            elements.append(element)
        spaced = False
    if words:
        elements.append(["mtext", _spaced(words, bool(elements)).rstrip()])
    while outer:  # a bracket that is never closed
        exponent = ["mrow", elements]
        elements, base = outer.pop()
        elements.append(["msup", [base, exponent]])
    return elements


def _is_factor(element: Element, bracket: str) -> bool:
    """Return whether a product may begin or end with an element, or with what is in such a bracket."""
    return element[0] not in ("mo", "mtext") or element[1] == bracket


def _spaced(words: Sequence[str], inside: bool) -> str:
    """Return words with the space around them that sets them apart from formulas."""
    return ("\u00a0" if inside else "") + " ".join("".join(words).split()) + "\u00a0"


def _element(token: str) -> Element | None:
    """Return a token as an element; None for a word."""
    if token.isspace():
        return None
    if token[0].isdecimal():
        return ["mn", token]
    if not (token[0].isalpha() or token[0] == "_"):
        return ["mo", {"-": "−", ">=": "≥", "<=": "≤"}.get(token, token)]  # noqa: RUF001
    base, _, index = token.partition("_")
    if not base:
        return None
    differential = base[0] == "d" and _symbol(base) in (None, base) and _symbol(base[1:]) is not None
    symbol = _symbol(base[1:] if differential else base)
    if symbol is None:
        return None
    element: Element = ["mi", symbol]
    if index:
        element = ["msub", [element, ["mi", LETTERS.get(index, index)]]]
    return ["mrow", [["mi", "d"], element]] if differential else element


def _symbol(name: str) -> str | None:
    """Return how a name is written in a formula; None for a word."""
    if name in LETTERS:
        return LETTERS[name]
    return name if len(name) == 1 or name in FUNCTIONS or name in NAMES else None
