"""Listing (65.187), batch normalisation, line by line over plain Python numbers, and what makes its gradient exact.

(65.169)-(65.176) (mean, variance, smoothing), (65.183) (normalised signals), (65.186) (the risk), (65.187) (forward and
backward processing), (65.188) (cross-entropy), (65.221) (the scalars c), (65.231)-(65.232) (sensitivities backward).

Conventions are those of `chapter.listings`: layers are numbered as printed, nodes and samples are counted from 0, no
function changes its arguments, nothing of the library is used. A `state` is what a step changes: W, theta and a of
layer l under ``state["W"][l]``, and of layer l + 1 the smoothed mean and the diagonal of S_s^2, which contains eps,
under ``state["z_s"][l + 1]`` and ``state["S2_s"][l + 1]``.
"""

import itertools
import math
import random
from types import SimpleNamespace

from chapter import listings

LAMBDA, EPS = 0.95, 1e-6


def start(W, theta, a, eps=EPS):
    """The initial conditions of (65.187): smoothed means 0, S_s^2 = eps I; a is printed as 0 there."""
    sizes = {l + 1: len(theta[l]) for l in theta}
    return {
        "W": W,
        "theta": theta,
        "a": {l: [float(a)] * len(theta[l]) for l in theta},
        "z_s": {l: [0.0] * n for l, n in sizes.items()},
        "S2_s": {l: [eps] * n for l, n in sizes.items()},
    }


def normalise(z, eps=EPS, ddof=1):
    """(65.170a)-(65.174) of the batch z: means, the diagonal of S^2, and z'; the variance divides by B - ddof."""
    B, nodes = len(z), range(len(z[0]))
    z_bar = [sum(z[b][k] for b in range(B)) / B for k in nodes]
    variance = [sum((z[b][k] - z_bar[k]) ** 2 for b in range(B)) / (B - ddof) for k in nodes]
    S2 = [eps + variance[k] for k in nodes]
    z_prime = [[S2[k] ** -0.5 * (z[b][k] - z_bar[k]) for k in nodes] for b in range(B)]
    return z_bar, S2, z_prime


def scale_and_shift(z_prime, a, theta):
    """(65.182): v_b = A z'_b - theta."""
    return [[a[k] * z_b[k] - theta[k] for k in range(len(a))] for z_b in z_prime]


def combine(W, y):
    """z_b = W^T y_b of (65.185), without a bias."""
    return [[sum(W[i][j] * y_b[i] for i in range(len(y_b))) for j in range(len(W[0]))] for y_b in y]


def smooth(old, new, factor=LAMBDA):
    """(65.176a)-(65.176b): lambda times the old entries plus 1 - lambda times the new ones."""
    return [factor * s + (1 - factor) * x for s, x in zip(old, new, strict=True)]


def forward_processing(samples, state, f, eps=EPS, ddof=1):
    """The signals of every layer for a batch: y, z, z_bar, S2, z_prime and v, each by layer."""
    s = SimpleNamespace(y={1: samples}, z={}, z_bar={}, S2={}, z_prime={}, v={})
    for l in range(1, len(state["W"]) + 1):
        s.z[l + 1] = combine(state["W"][l], s.y[l])
        s.z_bar[l + 1], s.S2[l + 1], s.z_prime[l + 1] = normalise(s.z[l + 1], eps, ddof)
        s.v[l + 1] = scale_and_shift(s.z_prime[l + 1], state["a"][l], state["theta"][l])
        s.y[l + 1] = [listings.activate(f[l + 1], v_b) for v_b in s.v[l + 1]]
    return s


def c_as_printed(s, l, b, p, j):
    """(65.221): c_{b,p} of layer l + 1 and node j."""
    B, xi = len(s.z[l + 1]), s.S2[l + 1][j] ** -0.5  # (65.220)
    z, z_bar = s.z[l + 1], s.z_bar[l + 1]
    if p == b:
        return (1 - 1 / B) * xi * (1 - 1 / (B - 1) * xi**2 * (z[b][j] - z_bar[j]) ** 2)
    return -1 / B * xi * (1 + xi**2 * (z[b][j] - z_bar[j]) * (z[p][j] - z_bar[j]))


def c_with(ddof):
    """dz'_b / dz_p (65.219) where the variance divides by B - ddof, by the product rule (65.217)."""

    def c(s, l, b, p, j):
        B, xi = len(s.z[l + 1]), s.S2[l + 1][j] ** -0.5
        z, z_bar = s.z[l + 1], s.z_bar[l + 1]
        dxi = -0.5 * xi**3 * 2 / (B - ddof) * (z[p][j] - z_bar[j])
        return xi * ((1 if p == b else 0) - 1 / B) + (z[b][j] - z_bar[j]) * dxi

    return c


def delta_as_printed(s, l, delta, state, f, c):
    """(65.231)-(65.232): delta_l of every sample, each from its own delta_{l+1} alone."""
    n, B, W, a = len(state["a"][l]), len(delta), state["W"][l], state["a"][l]
    out = []
    for b in range(B):
        D = [a[j] * c(s, l, b, b, j) for j in range(n)]
        f_prime = listings.slope(f[l], s.v[l][b])
        out.append([f_prime[i] * sum(W[i][j] * D[j] * delta[b][j] for j in range(n)) for i in range(len(W))])
    return out


def delta_complete(s, l, delta, state, f, c):
    """B times the derivative of the batch's risk with respect to v_{l,p}: by way of z_p in every sample's z'_b."""
    n, B, W, a = len(state["a"][l]), len(delta), state["W"][l], state["a"][l]
    out = []
    for p in range(B):
        dz = [a[j] * sum(delta[b][j] * c(s, l, b, p, j) for b in range(B)) for j in range(n)]
        f_prime = listings.slope(f[l], s.v[l][p])
        out.append([f_prime[i] * sum(W[i][j] * dz[j] for j in range(n)) for i in range(len(W))])
    return out


def step(
    samples,
    targets,
    state,
    mu,
    rho,
    f,
    risk,
    *,
    c=c_as_printed,
    delta_before=delta_as_printed,
    eps=EPS,
    ddof=1,
    factor=LAMBDA,
):
    """One iteration m of (65.187): the state after it. By default everything is as printed, but (65.176b).

    (The printed line for S_s^2 has the smoothed value in both terms, so that it would stay eps I for ever.)
    """
    L, B = len(state["W"]) + 1, len(samples)
    W, theta, a = state["W"], state["theta"], state["a"]
    s = forward_processing(samples, state, f, eps, ddof)  # forward processing
    new = {"W": {}, "theta": {}, "a": {}, "z_s": {}, "S2_s": {}}
    for l in range(1, L):
        new["z_s"][l + 1] = smooth(state["z_s"][l + 1], s.z_bar[l + 1], factor)
        new["S2_s"][l + 1] = smooth(state["S2_s"][l + 1], s.S2[l + 1], factor)
    delta = {L: [listings.boundary(*pair, f[L], risk) for pair in zip(s.y[L], targets, s.v[L], strict=True)]}
    for l in range(L - 1, 0, -1):  # backward processing
        nodes, above = range(len(W[l])), range(len(a[l]))
        d = delta[l + 1]
        new["W"][l] = [
            [
                (1 - 2 * mu * rho) * W[l][i][j]
                - mu
                / B
                * sum(d[b][j] * a[l][j] * sum(c(s, l, b, p, j) * s.y[l][p][i] for p in range(B)) for b in range(B))
                for j in above
            ]
            for i in nodes
        ]
        new["theta"][l] = [theta[l][j] + mu / B * sum(d[b][j] for b in range(B)) for j in above]
        new["a"][l] = [a[l][j] - mu / B * sum(d[b][j] * s.z_prime[l + 1][b][j] for b in range(B)) for j in above]
        if l >= 2:
            delta[l] = delta_before(s, l, d, state, f, c)
    return new


def exact_step(samples, targets, state, mu, rho, f, risk, *, ddof=1, **options):
    """As `step`, with the whole gradient: c of the variance that was used, and every path between samples."""
    return step(
        samples, targets, state, mu, rho, f, risk, c=c_with(ddof), delta_before=delta_complete, ddof=ddof, **options
    )


def gradients(rule, samples, targets, state, f, risk, **options):
    """What a `step` or `exact_step` takes for the gradients of the batch's risk: a step of size 1 without rho."""
    after = rule(samples, targets, state, 1.0, 0.0, f, risk, **options)
    return {kind: {l: subtract(state[kind][l], after[kind][l]) for l in state[kind]} for kind in ("W", "theta", "a")}


def subtract(x, y):
    """x - y of nested lists."""
    return [subtract(*pair) for pair in zip(x, y, strict=True)] if isinstance(x, list) else x - y


def batch_risk(samples, targets, state, rho, f, risk, eps=EPS, ddof=1):
    """(65.186) on a batch: rho times all squared weights, plus the mean of the samples' Q."""
    L, B = len(state["W"]) + 1, len(samples)
    outputs = forward_processing(samples, state, f, eps, ddof).y[L]
    regulariser = sum(rho * w**2 for W_l in state["W"].values() for row in W_l for w in row)
    return regulariser + sum(listings.loss(*pair, risk) for pair in zip(outputs, targets, strict=True)) / B


def outputs_from(l, v_l, state, f, eps=EPS, ddof=1):
    """gamma-hat of every sample of a batch, from its signals v_l."""
    v = v_l
    for k in range(l, len(state["W"]) + 1):
        z = combine(state["W"][k], [listings.activate(f[k], v_b) for v_b in v])
        v = scale_and_shift(normalise(z, eps, ddof)[2], state["a"][k], state["theta"][k])
    return [listings.activate(f[len(state["W"]) + 1], v_b) for v_b in v]


def outputs_in_testing(samples, state, f):
    """gamma-hat in testing: mean and S^2 of every layer replaced by the smoothed ones, sample by sample."""
    y = samples
    for l in range(1, len(state["W"]) + 1):
        z = combine(state["W"][l], y)
        z_s, S2_s = state["z_s"][l + 1], state["S2_s"][l + 1]
        z_prime = [[S2_s[k] ** -0.5 * (z_b[k] - z_s[k]) for k in range(len(z_s))] for z_b in z]
        y = [listings.activate(f[l + 1], v_b) for v_b in scale_and_shift(z_prime, state["a"][l], state["theta"][l])]
    return y


def standardise(samples):
    """The inputs centred, and divided by their deviation, as the listing wants them beforehand."""
    return normalise(samples, eps=0.0)[2]


# -- what tests start from ----------------------------------------------------------------------------------


def example(sizes, B, seed, output="tanh"):
    """A state drawn at random with scales between 1/2 and 3/2, a standardised batch, targets and activations."""
    draw = random.Random(seed)
    L = len(sizes)
    pairs = list(itertools.pairwise(sizes))
    W = {
        l: [[draw.gauss(0, 1) / math.sqrt(n) for _ in range(m)] for _ in range(n)] for l, (n, m) in enumerate(pairs, 1)
    }
    theta = {l: [draw.gauss(0, 1) for _ in range(m)] for l, (_, m) in enumerate(pairs, 1)}
    state = start(W, theta, 1.0)
    state["a"] = {l: [draw.uniform(0.5, 1.5) for _ in range(m)] for l, (_, m) in enumerate(pairs, 1)}
    samples = standardise([[draw.gauss(0, 1) for _ in range(sizes[0])] for _ in range(B)])
    targets = [[draw.uniform(-1, 1) for _ in range(sizes[-1])] for _ in range(B)]
    if output == "softmax":
        targets = [listings.activate("softmax", row) for row in targets]
    return state, samples, targets, listings.activations(L, "tanh", output)


def state_of(net):
    """The state of a network built with ``batch_norm="all"``, as plain numbers."""
    W, theta = listings.parameters(net)
    norms = {l: getattr(net, f"norm{l + 1}") for l in W}
    return {
        "W": W,
        "theta": theta,
        "a": {l: norm.a.numpy().tolist() for l, norm in norms.items()},
        "z_s": {l + 1: norm.mean.numpy().tolist() for l, norm in norms.items()},
        "S2_s": {l + 1: [x + norm.eps for x in norm.variance.numpy().tolist()] for l, norm in norms.items()},
    }


def differences(f, x, h=1e-5):
    """Central differences of a number ``f(x)`` with respect to every entry of the nested lists (and dicts) x."""

    def replaced(nested, path, by):
        if not path:
            return nested + by
        copy = dict(nested) if isinstance(nested, dict) else list(nested)
        copy[path[0]] = replaced(nested[path[0]], path[1:], by)
        return copy

    def slopes(nested, path):
        if isinstance(nested, dict):
            return {key: slopes(part, (*path, key)) for key, part in nested.items()}
        if isinstance(nested, list):
            return [slopes(part, (*path, i)) for i, part in enumerate(nested)]
        return (f(replaced(x, path, h)) - f(replaced(x, path, -h))) / (2 * h)

    return slopes(x, ())
