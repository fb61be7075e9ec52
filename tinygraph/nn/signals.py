"""The chapter's names for the signals of a network: ``z_l`` before an activation, ``y_l`` after it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..structure import Scope
from ..tensors import Tensor


def name_signals(tensors: Iterable[Tensor], modules: Iterable[tuple[str, object]]) -> dict[str, Tensor]:
    """Return the signals of a network among `tensors`, by name, in order of computation.

    Layers are numbered as in the chapter: the input is layer 1, and a signal z that is computed from a z of
    layer l belongs to layer l + 1.

    Parameters
    ----------
    tensors : iterable of Tensor
        Recorded, inputs before what is made from them.
    modules : iterable of (str, Module)
        Those of the network, with their paths, as `Module.named_modules` yields them.

    Returns
    -------
    dict of str to Tensor
        "z2" is the signal before an activation and "y2" the one after it; "v2" is what batch normalisation
        makes of z2 (65.183). Where a module was called several times the names have its path and count the
        calls, "branch.z2#1"; where two modules share a layer number they have the paths, "heads.0.z3".
    """
    paths = {module: path for path, module in modules}
    layer: dict[Tensor, int] = {}  # of the last z that a tensor was computed from
    last: dict[Tensor, Tensor | None] = {}  # that z
    followers: dict[tuple[str, Tensor], Tensor] = {}  # the y, or the v, of a z
    by_module: dict[Any, list[Tensor]] = {}
    for t in tensors:
        before = max((x for x in t.inputs if x in layer), key=layer.__getitem__, default=None)
        layer[t], last[t] = (1, None) if before is None else (layer[before], last[before])
        z = last[t]
        if t.op is None or (t.name not in ("z", "v", "y") and t.op.name != "batch_norm"):
            continue
        chain = [scope.module for scope in _chain(t)]
        if t.name == "z" and chain and chain[-1] in paths:
            layer[t], last[t] = layer[t] + 1, t
            by_module.setdefault(chain[-1], []).append(t)
        elif z is not None and not paths.keys().isdisjoint(chain):
            if t.name == "y":
                followers.setdefault(("y", z), t)
            elif z is t.inputs[0] or (t.name == "v" and z in _given_to_the_call(t)):
                followers.setdefault(("v", z), t)
    number = {module: layer[zs[0]] for module, zs in by_module.items()}
    repeated = _repeated(by_module, paths)
    named: dict[str, Tensor] = {}
    for module, zs in by_module.items():
        around = repeated.get(module)
        alone = [number[m] for m in by_module if repeated.get(m) == around].count(number[module]) == 1
        path = (around or "") if alone else paths[module]
        for call, z in enumerate(zs, 1):
            for kind, signal in (("z", z), ("v", followers.get(("v", z))), ("y", followers.get(("y", z)))):
                if signal is not None:
                    key = f"{path}.{kind}{number[module]}" if path else f"{kind}{number[module]}"
                    named[f"{key}#{call}" if len(zs) > 1 else key] = signal
    return dict(sorted(named.items(), key=lambda item: item[1].index))


def _chain(t: Tensor) -> list[Scope]:
    """Return the module calls in which a tensor was made, the outermost first."""
    chain: list[Scope] = []
    scope = t.scope
    while scope is not None:
        chain.append(scope)
        scope = scope.parent
    return chain[::-1]


def _given_to_the_call(t: Tensor) -> set[Tensor]:
    """Return what `t` was computed from that was not made in the same module call."""
    seen, stack = {t}, [t]
    outside: set[Tensor] = set()
    while stack:
        for x in stack.pop().inputs:
            if x.scope is not t.scope or x.op is None:
                outside.add(x)
            elif x not in seen:
                seen.add(x)
                stack.append(x)
    return outside


def _repeated(by_module: dict[object, list[Tensor]], paths: dict[object, str]) -> dict[Any, str]:
    """Return, for each module with several z, the path of the outermost module that was called repeatedly."""
    calls: dict[Any, dict[Any, None]] = {}
    for zs in by_module.values():
        for z in zs:
            for scope in _chain(z):
                calls.setdefault(scope.module, {})[scope] = None
    return {
        module: next(paths[s.module] for s in _chain(zs[0]) if s.module in paths and len(calls[s.module]) > 1)
        for module, zs in by_module.items()
        if len(zs) > 1
    }
