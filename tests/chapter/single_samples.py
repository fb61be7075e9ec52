"""What Problems 65.5-65.8 share: (65.87), training by single samples, but for the lines that activations change."""

from chapter.ways import largest_difference_over_steps

from tinygraph import losses, optim

MU, RHO, STEPS = 0.02, 0.01, 20


def update(W, theta, y, delta):
    """The updates of (65.87): W_{l,m} and theta_{l,m} from those of m - 1, from y_l and delta_{l+1}."""
    W_m = [[(1 - 2 * MU * RHO) * W[i][j] - MU * y[i] * delta[j] for j in range(len(theta))] for i in range(len(W))]
    return W_m, [theta[j] + MU * delta[j] for j in range(len(theta))]


def random_samples(rng, n_in, n_out):
    """A feature vector and a label vector for each step, as batches of one."""
    return list(zip(rng.normal(size=(STEPS, 1, n_in)), rng.normal(size=(STEPS, 1, n_out)), strict=True))


def largest_difference(way, net, samples, listing):
    """The largest difference of any parameter after any step from ``listing(h, gamma, W, theta)``, one iteration."""
    return largest_difference_over_steps(
        way,
        net,
        losses.squared_error,
        optim.SGD(net.parameters(), MU),
        samples,
        lambda x, y, W, theta: listing(x[0], y[0], W, theta),
        RHO,
    )
