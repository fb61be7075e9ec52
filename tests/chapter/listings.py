"""The chapter's listings for the fully-connected network, in plain loops over plain Python numbers.

Layers are counted from 0 here: ``W[l][i][j]`` leads from node i of layer l to node j of layer l + 1.
Nothing of the library is used, so that the library can be held against it.
"""

import math


def relu(z):
    return max(0.0, z)


ACTIVATIONS = {
    "sigmoid": (lambda z: 1 / (1 + math.exp(-z)), lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "relu": (relu, lambda z: 1.0 if z > 0 else 0.0),
    "linear": (lambda z: z, lambda z: 1.0),
}


def softmax(z):
    largest = max(z)
    e = [math.exp(v - largest) for v in z]
    return [v / sum(e) for v in e]


def forward(W, theta, h, activation, output):
    """(65.31): every z_l and y_l, from the input h."""
    y, ys, zs = list(h), [list(h)], [None]
    for l in range(len(W)):
        z = [sum(W[l][i][j] * y[i] for i in range(len(y))) - theta[l][j] for j in range(len(theta[l]))]
        if l < len(W) - 1:
            y = [ACTIVATIONS[activation][0](v) for v in z]
        else:
            y = softmax(z) if output == "softmax" else [ACTIVATIONS[output][0](v) for v in z]
        zs.append(z)
        ys.append(y)
    return zs, ys


def sensitivities(W, zs, ys, gamma, activation, output, risk):
    """delta_l = dQ/dz_l of one sample, from the last layer to the first (65.54)-(65.64), (65.81), (65.131)."""
    L = len(W)
    delta = [None] * (L + 1)
    y, z = ys[L], zs[L]
    if risk == "cross-entropy":  # with softmax: delta = gamma-hat - gamma
        delta[L] = [y[j] - gamma[j] for j in range(len(y))]
    elif output == "softmax":  # least squares: delta = J 2 (gamma-hat - gamma), J = diag(y) - y y'
        e = [2 * (y[j] - gamma[j]) for j in range(len(y))]
        inner = sum(e[j] * y[j] for j in range(len(y)))
        delta[L] = [y[j] * (e[j] - inner) for j in range(len(y))]
    else:
        slope = ACTIVATIONS[output][1]
        delta[L] = [2 * (y[j] - gamma[j]) * slope(z[j]) for j in range(len(y))]
    for l in range(L - 1, 0, -1):
        slope = ACTIVATIONS[activation][1]
        delta[l] = [
            slope(zs[l][i]) * sum(W[l][i][j] * delta[l + 1][j] for j in range(len(delta[l + 1])))
            for i in range(len(zs[l]))
        ]
    return delta


def step(W, theta, batch, targets, mu, rho, activation, output, risk):
    """One update by a mini-batch (65.82), (65.149); with one sample (65.87), (65.150)."""
    B, L = len(batch), len(W)
    passes = []
    for h, gamma in zip(batch, targets, strict=True):
        zs, ys = forward(W, theta, h, activation, output)
        passes.append((ys, sensitivities(W, zs, ys, gamma, activation, output, risk)))
    for l in range(L):
        for i in range(len(W[l])):
            for j in range(len(W[l][i])):
                total = sum(delta[l + 1][j] * ys[l][i] for ys, delta in passes)
                W[l][i][j] = (1 - 2 * mu * rho) * W[l][i][j] - mu / B * total
        for j in range(len(theta[l])):
            theta[l][j] = theta[l][j] + mu / B * sum(delta[l + 1][j] for _, delta in passes)
