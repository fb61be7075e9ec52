"""What ``tinygraph check`` does: every operation's gradient held against central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.errors import TinygraphError

Case = tuple[Callable[..., Any], list[np.ndarray]]


def cases() -> dict[str, Case]:
    """Return a function and its inputs for every operation that has a gradient."""
    rng = np.random.default_rng(65)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    row, positive, far = rng.normal(size=4), rng.uniform(0.5, 2.0, (3, 4)), rng.normal(size=(3, 4)) + 3.0
    stacks = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 2))
    target = rng.dirichlet(np.ones(4), 3)
    unary: dict[str, Callable[..., Any]] = {
        "negative": tg.negative,
        "exp": tg.exp,
        "expm1": tg.expm1,
        "sin": tg.sin,
        "cos": tg.cos,
        "abs": tg.abs,
        "sign": tg.sign,
        "square": tg.square,
        "erf": tg.erf,
        "sigmoid": tg.sigmoid,
        "softplus": tg.softplus,
        "tanh": tg.tanh,
        "scaled_tanh": tg.scaled_tanh,
        "relu": tg.relu,
        "leaky_relu": tg.leaky_relu,
        "two_sided_relu": lambda z: tg.two_sided_relu(z, -0.3),
        "elu": tg.elu,
        "selu": tg.selu,
        "gelu": tg.gelu,
        "silu": tg.silu,
        "softsign": tg.softsign,
        "identity": tg.identity,
        "clip": lambda z: tg.clip(z, -0.5, 0.5),
        "softmax": tg.softmax,
        "softmax(axis=0)": lambda z: tg.softmax(z, 0),
        "log_softmax": tg.log_softmax,
        "sum": lambda x: tg.sum(x, 0),
        "prod": lambda x: tg.prod(x, 1),
        "prod of all": tg.prod,
        "cumsum": lambda x: tg.cumsum(x, 1),
        "mean": lambda x: tg.mean(x, 1, keepdims=True),
        "max": lambda x: tg.max(x, 1),
        "min": tg.min,
        "var": lambda x: tg.var(x, 0, ddof=1),
        "std": lambda x: tg.std(x, 0, ddof=1),
        "norm": lambda x: tg.norm(x, 1),
        "logsumexp": lambda x: tg.logsumexp(x, 1),
        "reshape": lambda x: tg.reshape(x, (2, 6)),
        "transpose": tg.transpose,
        "broadcast_to": lambda x: tg.broadcast_to(x, (2, 3, 4)),
        "tril": lambda x: tg.tril(x, 1),
        "triu": tg.triu,
        "index": lambda x: x[1:, [0, 0, 2]],
        "take": lambda x: tg.take(x, [2, 0, 0], 1),
        "take_along_axis": lambda x: tg.take_along_axis(x, [[0, 0], [2, 1], [-1, 3]], 1),
        "sort": lambda x: tg.sort(x, 0),
        "topk": lambda x: tg.topk(x, 2)[0],
        "split": lambda x: tg.split(x, 2, 1)[1],
        "pad": lambda x: tg.pad(x, 1),
    }
    table: dict[str, Case] = {name: (f, [a]) for name, f in unary.items()}
    edges = tg.Neighborhoods([[0, 1], [], [3, 2, 0], [1], [2]], n_in=4)
    table |= {
        "neighborhood_matmul": (lambda y, w: tg.neighborhood_matmul(y, w, edges), [a, rng.normal(size=7)]),
        "log": (tg.log, [positive]),
        "log1p": (tg.log1p, [positive]),
        "sqrt": (tg.sqrt, [positive]),
        "add": (tg.add, [a, row]),
        "subtract": (tg.subtract, [a, row]),
        "multiply": (tg.multiply, [a, row]),
        "divide": (tg.divide, [a, far]),
        "divide_or_zero": (tg.divide_or_zero, [a, far]),
        "power": (tg.power, [positive, b]),
        "maximum": (tg.maximum, [a, b]),
        "minimum": (tg.minimum, [a, b]),
        "where": (lambda x, y: tg.where(b > 0, x, y), [a, far]),
        "gate": (lambda x: tg.gate(x, b > 0), [a]),
        "concatenate": (lambda x, y: tg.concatenate([x, y], 1), [a, b]),
        "stack": (lambda x, y: tg.stack([x, y], 1), [a, b]),
        "matmul": (tg.matmul, [a, b.T.copy()]),
        "matmul of stacks": (tg.matmul, list(stacks)),
        "matmul of a stack and a matrix": (tg.matmul, [stacks[0], row[:, None] * a[:1]]),
        "einsum": (lambda x, y: tg.einsum("bij,bjk->ik", x, y), list(stacks)),
        "batch_norm": (tg.batch_norm, [a, rng.normal(size=4), row]),
        "batch_norm(ddof=0)": (lambda z, s, t: tg.batch_norm(z, s, t, ddof=0), [a, rng.normal(size=4), row]),
        "layer_norm": (tg.layer_norm, [stacks[0], rng.normal(size=4), row]),
        "mask": (lambda y: tg.mask(y, (b > 0).astype(y.dtype)), [a]),
        "grid_neighborhoods": (lambda y: tg.grid_neighborhoods(y, (2, 3), (2, 1), 1), [rng.normal(size=(2, 3, 4, 2))]),
        "bias": (tg.bias, [a, row]),
        "cosine_similarity": (tg.cosine_similarity, [a, b]),
        "sigmoid_cross_entropy": (tg.sigmoid_cross_entropy, [a, target]),
        "squared_error": (tg.squared_error, [a, b]),
        "softmax_cross_entropy": (tg.softmax_cross_entropy, [a, target]),
    }
    return table


def run() -> Iterator[tuple[str, bool]]:
    """Check every case on every backend that can run here; yield a line and whether it passed."""
    for backend, state in tg.backends().items():
        if state != "ok":
            yield f"{backend}: {state}", True
            continue
        worst, failed = 0.0, 0
        with tg.using(backend):
            for name, (function, inputs) in cases().items():
                try:
                    worst = max(worst, tg.gradcheck(function, *inputs, second=True))
                except TinygraphError as error:
                    failed += 1
                    yield f"{backend} {name}: {error}", False
        yield f"{backend}: {len(cases()) - failed} of {len(cases())} pass, largest difference {worst:.1e}", not failed
