"""What Problems 65.22, 65.23 and 65.24 have in common: a branch of three layers for both features of a pair.

`W` and `theta` are by the number of the matrix; those of the branch are 1, ..., L - 1, and a head's follow. An account
of a pair says, by the number of the matrix, which signals it is fed with and which sensitivities it leads to; a pair
has several, one for each branch, and the gradients add up over all.
"""

from __future__ import annotations

from chapter import listings
from chapter.ways import largest_difference_over_steps

from tinygraph import optim

SIZES = [4, 5, 3]
L, Q = 3, 3
STEPS, MU, RHO = 20, 0.2, 0.01
F = listings.activations(L, "tanh", "sigmoid")


def branches(h_1, h_2, W, theta):
    """For either feature of a pair the output of its branch, and the y_l and z_l on the way."""
    branch = {l: W[l] for l in range(1, L)}
    for h in (h_1, h_2):
        output, _, y, z = listings.forward(h, branch, theta, F)
        yield output, y, z


def account(to_output, y, z, W):
    """The account of a branch, from the gradient at its output."""
    slope = listings.slope(F[L], z[L])
    delta_L = [slope[q] * to_output[q] for q in range(Q)]
    delta = listings.backward(delta_L, F, z, {l: W[l] for l in range(1, L)})
    return {l: (y[l], delta[l + 1]) for l in range(1, L)}


def descended(accounts, B, W, theta, mu, rho):
    """The parameters after one step by B pairs."""
    W_m, theta_m = {}, {}
    for l in W:
        through = [a[l] for a in accounts if l in a]
        W_m[l] = [
            [
                (1 - 2 * mu * rho) * W[l][i][j] - mu / B * sum(delta[j] * y[i] for y, delta in through)
                for j in range(len(theta[l]))
            ]
            for i in range(len(W[l]))
        ]
        theta_m[l] = [theta[l][j] + mu / B * sum(delta[j] for _, delta in through) for j in range(len(theta[l]))]
    return W_m, theta_m


def difference_over_steps(way, net, loss_fn, accounts, labels, B, rho, rng):
    """The largest difference of any parameter, after any of the steps with B random pairs, from the plain loops.

    ``accounts(h_1, h_2, gamma, W, theta)`` gives those of one pair, whose label is one of `labels`.
    """

    def listing(x, y, W, theta):
        found = [a for (h_1, h_2), gamma in zip(x, y, strict=True) for a in accounts(h_1, h_2, gamma, W, theta)]
        return descended(found, len(x), W, theta, MU, rho)

    h = rng.normal(size=(STEPS, B, 2, SIZES[0]))
    drawn = list(zip(h, rng.choice(labels, size=(STEPS, B)), strict=True))
    return largest_difference_over_steps(way, net, loss_fn, optim.SGD(net.parameters(), MU), drawn, listing, rho)
