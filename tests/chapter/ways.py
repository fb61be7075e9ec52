"""The ways in which the library walks a trajectory: a loop of one's own, `tg.compile`, and `tg.fit`."""

from chapter.listings import largest_difference, parameters

import tinygraph as tg
from tinygraph import losses

WAYS = ("loop", "compile", "fit")
TOLERANCE = 1e-10  # of any parameter in float64, over 20 steps


def walk(way, net, loss_fn, optimizer, pairs, after, rho=0.0, alpha=0.0, **options):
    """Let the library make a step with each pair ``(x, y)`` of arrays, and call `after` after each.

    `loss_fn` is a function of `tinygraph.losses`, rho the factor of its regulariser (65.47), alpha that of Prob. 65.15,
    the sum of absolute values; `options` are for `fit`.
    """

    def update(x, y):
        optimizer.zero_grad()
        output = net(x) if losses.takes_logits(loss_fn) else net.predict(x, train=True)
        (loss_fn(output, y) + losses.elastic(net, rho, alpha)).backward()
        optimizer.step()

    if way == "fit":
        tg.fit(net, loss_fn, _Watched(pairs, after), optimizer, 1, l2=rho, l1=alpha, **options)
        return
    step = tg.compile(update) if way == "compile" else update
    for x, y in pairs:
        step(x, y)
        after()


class _Watched:
    """Pairs that are handed out one by one; `after` is called when the next is asked for, so after every step."""

    def __init__(self, pairs, after):
        self.pairs, self.after = pairs, after

    def __iter__(self):
        for x, y in self.pairs:
            yield x, y
            self.after()


def largest_difference_over_steps(way, net, loss_fn, optimizer, pairs, listing, rho=0.0, **options):
    """The largest difference of any parameter after any step between the library and a transcription.

    ``listing(x, y, W, theta)``, given a pair as lists and the parameters before the step, returns those after it;
    the transcription starts from the network's own parameters.
    """
    start = parameters(net)
    expected = [start]
    for x, y in pairs:
        expected.append(listing(x.tolist(), y.tolist(), *expected[-1]))
    found = []
    walk(way, net, loss_fn, optimizer, pairs, lambda: found.append(parameters(net)), rho, **options)
    assert largest_difference(start, expected[-1]) > 1e-3, "the parameters did not move"
    assert len(found) == len(pairs)
    return max(largest_difference(ours, theirs) for ours, theirs in zip(found, expected[1:], strict=True))
