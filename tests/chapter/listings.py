"""The chapter's listings for the fully-connected network, line by line, over plain Python numbers.

Table 65.1 (activation functions) with (65.6)-(65.12) (derivatives), (65.13)-(65.15) (softmax), (65.30)-(65.31) and
(65.43) (forward), Table 65.2 (boundary values), (65.63)-(65.64) (backward), (65.81) (gradients of the risk), (65.82)
and (65.149) (mini-batches), (65.87) and (65.150) (single samples), (65.121)-(65.124) (dropout).

Layers are numbered as printed: ``W[l][i][j]`` leads from node i of layer l to node j of layer l + 1, and
``theta[l][j]`` is subtracted there, for l = 1, ..., L - 1; ``f[l]`` names the activation of layer l = 2, ..., L.
So W, theta and f are dicts, and what is in them are lists; nodes are counted from 0. No function changes its
arguments. Nothing of the library is used, so that the library can be held against it.
"""

import math

SCALED_TANH_B = 2 / 3  # (65.10), the constants of the scaled tanh
SCALED_TANH_A = 1 / math.tanh(2 / 3)
ELU_ALPHA = 1.0


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def sigmoid_slope(z):
    return sigmoid(z) * (1 - sigmoid(z))  # (65.6), the slope of the sigmoid


def tanh_slope(z):
    return 1 - math.tanh(z) ** 2  # (65.7), the third form of the slope of tanh


def relu_slope(z):
    return 1.0 if z > 0 else 0.0  # (65.11), the slope of ReLU, 0 at 0


def leaky_relu_slope(z):
    return 1.0 if z > 0 else 0.01 if z < 0 else 0.0  # (65.12), the slope of leaky ReLU, 0 at 0


ACTIVATIONS = {  # Table 65.1: f, and its derivative
    "sigmoid": (sigmoid, sigmoid_slope),
    "softplus": (lambda z: math.log(1 + math.exp(z)), sigmoid),
    "tanh": (math.tanh, tanh_slope),
    "scaled_tanh": (
        lambda z: SCALED_TANH_A * math.tanh(SCALED_TANH_B * z),
        lambda z: SCALED_TANH_A * SCALED_TANH_B * tanh_slope(SCALED_TANH_B * z),
    ),
    "relu": (lambda z: max(0.0, z), relu_slope),
    "leaky_relu": (lambda z: z if z >= 0 else 0.01 * z, leaky_relu_slope),
    "elu": (
        lambda z: z if z >= 0 else ELU_ALPHA * (math.exp(z) - 1),
        lambda z: 1.0 if z >= 0 else ELU_ALPHA * math.exp(z),
    ),
    "linear": (lambda z: z, lambda z: 1.0),
}


def softmax(z):
    """The softmax (65.15) of centred entries (65.14): exponentials of them less the largest, over their sum."""
    s = [z_q - max(z) for z_q in z]
    total = sum(math.exp(s_q) for s_q in s)
    return [math.exp(s_q) / total for s_q in s]


def activations(L, hidden, output):
    """f for L layers, of which those between input and output have the same activation."""
    return dict.fromkeys(range(2, L), hidden) | {L: output}


def activate(f, z):
    """The activation f of a vector: of each entry, or the softmax of all (65.40)."""
    return softmax(z) if f == "softmax" else [ACTIVATIONS[f][0](z_j) for z_j in z]


def slope(f, z):
    """f' of each entry of a vector."""
    return [ACTIVATIONS[f][1](z_j) for z_j in z]


def affine(W, y, theta):
    """W^T y - theta, the signal before activation in (65.31)."""
    return [sum(W[i][j] * y[i] for i in range(len(y))) - theta[j] for j in range(len(theta))]


def forward(h, W, theta, f):
    """(65.30): (gamma-hat, z, {y_l}, {z_l}) = forward(h, {W_l, theta_l}), by (65.31); with a softmax (65.43)."""
    L = len(W) + 1
    z_l, y_l = {}, {1: list(h)}
    for l in range(1, L):
        z_l[l + 1] = affine(W[l], y_l[l], theta[l])
        y_l[l + 1] = activate(f[l + 1], z_l[l + 1])
    z = z_l[L]
    gamma_hat = y_l[L]
    return gamma_hat, z, y_l, z_l


def jacobian(gamma_hat):
    """(65.69): J = diag(gamma-hat) - gamma-hat gamma-hat^T of the softmax."""
    Q = range(len(gamma_hat))
    return [[(gamma_hat[j] if j == k else 0.0) - gamma_hat[j] * gamma_hat[k] for k in Q] for j in Q]


def boundary(gamma_hat, gamma, z, f_L, risk):
    """Table 65.2: delta_L for `risk` "least squares" (65.56), with a softmax (65.70), or "cross-entropy" (65.144).

    Of another risk it is what a function ``risk(gamma_hat, gamma, z)`` returns.
    """
    if callable(risk):
        return risk(gamma_hat, gamma, z)
    Q = range(len(gamma_hat))
    if risk == "cross-entropy":
        return [gamma_hat[q] - gamma[q] for q in Q]
    if f_L == "softmax":
        J = jacobian(gamma_hat)
        return [2 * sum(J[j][k] * (gamma_hat[k] - gamma[k]) for k in Q) for j in Q]
    f_prime = slope(f_L, z)
    return [2 * (gamma_hat[q] - gamma[q]) * f_prime[q] for q in Q]


def back(f, z, W, delta):
    """(65.61): delta_l = f'(z_l) times (W_l delta_{l+1}), entry by entry."""
    f_prime = slope(f, z)
    return [f_prime[i] * sum(W[i][j] * delta[j] for j in range(len(delta))) for i in range(len(z))]


def backward(delta_L, f, z_l, W):
    """(65.64): {delta_l} = backward(delta_L, f, {z_l, W_l}), by (65.63); delta_L is among what is returned."""
    L = len(W) + 1
    delta = {L: delta_L}
    for l in range(L - 1, 1, -1):
        delta[l] = back(f[l], z_l[l], W[l], delta[l + 1])
    return delta


def sensitivities(h, gamma, W, theta, f, risk):
    """Every delta_l = dQ/dz_l of one sample (65.52): forward, the boundary value, backward."""
    gamma_hat, z, _, z_l = forward(h, W, theta, f)
    return backward(boundary(gamma_hat, gamma, z, f[len(W) + 1], risk), f, z_l, W)


def loss(gamma_hat, gamma, risk):
    """Q of one sample: (65.48) for least squares, (65.128) for cross-entropy."""
    pairs = list(zip(gamma, gamma_hat, strict=True))
    if risk == "cross-entropy":
        return -sum(g * math.log(y) for g, y in pairs)
    return sum((g - y) ** 2 for g, y in pairs)


def empirical_risk(samples, targets, W, theta, rho, f, risk):
    """P(W, theta): (65.47) for least squares, (65.127) for cross-entropy; the biases are not regularised."""
    P = sum(rho * w**2 for W_l in W.values() for row in W_l for w in row)
    N = len(samples)
    return P + sum(loss(forward(h, W, theta, f)[0], g, risk) for h, g in zip(samples, targets, strict=True)) / N


def gradients(samples, targets, W, theta, rho, f, risk):
    """(65.81): dP/dW_l (65.74) and dP/dtheta_l (65.80); for cross-entropy (65.146a), (65.146b)."""
    L, N = len(W) + 1, len(samples)
    y, delta = [], []
    for h, gamma in zip(samples, targets, strict=True):
        gamma_hat, z, y_l, z_l = forward(h, W, theta, f)
        delta_L = boundary(gamma_hat, gamma, z, f[L], risk)
        y.append(y_l)
        delta.append(backward(delta_L, f, z_l, W))
    dW, dtheta = {}, {}
    for l in range(1, L):
        dW[l] = [
            [
                2 * rho * W[l][i][j] + sum(y[n][l][i] * delta[n][l + 1][j] for n in range(N)) / N
                for j in range(len(theta[l]))
            ]
            for i in range(len(W[l]))
        ]
        dtheta[l] = [-sum(delta[n][l + 1][j] for n in range(N)) / N for j in range(len(theta[l]))]
    return dW, dtheta


def minibatch_step(samples, targets, W, theta, mu, rho, f, risk):
    """One iteration m of the mini-batch listings (65.82), with a softmax (65.84), and (65.149): (W, theta) after it.

    As printed, the loop over the layers updates W_l and theta_l first and then finds delta_l with W_{l,m-1}.
    """
    L, B = len(W) + 1, len(samples)
    y, z, delta = [], [], []
    for h, gamma in zip(samples, targets, strict=True):  # forward processing
        gamma_hat, z_b, y_b, z_lb = forward(h, W, theta, f)
        y.append(y_b)
        z.append(z_lb)
        delta.append({L: boundary(gamma_hat, gamma, z_b, f[L], risk)})
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):  # backward processing
        W_m[l] = [
            [
                (1 - 2 * mu * rho) * W[l][i][j] - mu / B * sum(y[b][l][i] * delta[b][l + 1][j] for b in range(B))
                for j in range(len(theta[l]))
            ]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [theta[l][j] + mu / B * sum(delta[b][l + 1][j] for b in range(B)) for j in range(len(theta[l]))]
        if l >= 2:
            for b in range(B):
                delta[b][l] = back(f[l], z[b][l], W[l], delta[b][l + 1])
    return W_m, theta_m


def stochastic_step(h, gamma, W, theta, mu, rho, f, risk):
    """One iteration m of the listings by single samples (65.87), with a softmax (65.85), and (65.150)."""
    L = len(W) + 1
    gamma_hat, z, y_l, z_l = forward(h, W, theta, f)  # forward processing
    delta = {L: boundary(gamma_hat, gamma, z, f[L], risk)}
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):  # backward processing
        W_m[l] = [
            [(1 - 2 * mu * rho) * W[l][i][j] - mu * y_l[l][i] * delta[l + 1][j] for j in range(len(theta[l]))]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [theta[l][j] + mu * delta[l + 1][j] for j in range(len(theta[l]))]
        if l >= 2:
            delta[l] = back(f[l], z_l[l], W[l], delta[l + 1])
    return W_m, theta_m


def awake(y, a):
    """y and a multiplied entry by entry (65.121): the signals of the nodes that are awake."""
    return [y_i * a_i for y_i, a_i in zip(y, a, strict=True)]


def forward_with_masks(h, W, theta, f, a):
    """The forward pass with dropout (65.121), (65.122): a[l] is the mask of layer l = 1, ..., L - 1."""
    L = len(W) + 1
    z_l, y_l = {}, {1: list(h)}
    for l in range(1, L):
        z_l[l + 1] = affine(W[l], awake(y_l[l], a[l]), theta[l])
        y_l[l + 1] = activate(f[l + 1], z_l[l + 1])
    return y_l[L], z_l[L], y_l, z_l


def dropout_step(samples, targets, a, W, theta, mu, rho, f, risk):
    """One iteration m of the dropout listing (65.124), with a softmax (65.123), and with cross-entropy (65.147)."""
    L, B = len(W) + 1, len(samples)
    y, z, delta = [], [], []
    for h, gamma in zip(samples, targets, strict=True):  # forward processing
        gamma_hat, z_b, y_b, z_lb = forward_with_masks(h, W, theta, f, a)
        y.append(y_b)
        z.append(z_lb)
        delta.append({L: boundary(gamma_hat, gamma, z_b, f[L], risk)})
    W_m, theta_m = {}, {}
    for l in range(L - 1, 0, -1):  # backward processing
        x = [awake(y[b][l], a[l]) for b in range(B)]
        W_m[l] = [
            [
                (1 - 2 * mu * rho) * W[l][i][j] - mu / B * sum(x[b][i] * delta[b][l + 1][j] for b in range(B))
                for j in range(len(theta[l]))
            ]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [theta[l][j] + mu / B * sum(delta[b][l + 1][j] for b in range(B)) for j in range(len(theta[l]))]
        if l >= 2:
            for b in range(B):
                delta[b][l] = awake(back(f[l], z[b][l], W[l], delta[b][l + 1]), a[l])
    return W_m, theta_m


def keep_sleeping(W, theta, a, W_m, theta_m):
    """What the text around (65.124) says and its decay of all weights contradicts: sleeping nodes keep theirs.

    W[l][i][j] stays where node i of layer l or node j of layer l + 1 sleeps, theta[l][j] where node j does; the
    nodes of the output layer never sleep.
    """
    L = len(W) + 1
    a = a | {L: [1] * len(theta[L - 1])}
    W_m = {
        l: [
            [W_m[l][i][j] if a[l][i] and a[l + 1][j] else W[l][i][j] for j in range(len(theta[l]))]
            for i in range(len(W[l]))
        ]
        for l in W
    }
    return W_m, {l: [theta_m[l][j] if a[l + 1][j] else theta[l][j] for j in range(len(theta[l]))] for l in theta}


def scaled_for_testing(W, theta, p):
    """The last line of (65.124) as printed: W_l and theta_l times 1 - p_l. Right for W only, see `scaled_weights`."""
    return scaled_weights(W, p), {l: [(1 - p[l]) * t for t in theta[l]] for l in theta}


def scaled_weights(W, p):
    """W_l times 1 - p_l, for testing after dropout."""
    return {l: [[(1 - p[l]) * w for w in row] for row in W[l]] for l in W}


# -- between a network and the transcription --------------------------------------------------------------


def parameters(net):
    """(W, theta) of a network of dense layers, as plain numbers by layer from 1."""
    of_role = {
        role: {l: p.numpy().tolist() for l, p in enumerate((p for p in net.parameters() if p.role == role), 1)}
        for role in ("weight", "bias")
    }
    return of_role["weight"], of_role["bias"]


def numbers(nested):
    """Every number in nested dicts (in order of their keys) and lists."""
    if isinstance(nested, dict):
        nested = [nested[key] for key in sorted(nested)]
    return [x for part in nested for x in numbers(part)] if isinstance(nested, list | tuple) else [nested]


def largest_difference(ours, theirs):
    """The largest absolute difference between matching numbers of two nestings of the same kind; infinite for NaN."""
    differences = [abs(a - b) for a, b in zip(numbers(ours), numbers(theirs), strict=True)]
    return math.inf if any(math.isnan(d) for d in differences) else max(differences)
