"""Programs that tests run on several processes: the name of a function and its arguments, all texts."""

import json
import os
import signal
import sys
import time
from contextlib import nullcontext, suppress

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.models import fully_connected
from tinygraph.parallel import LocalNeighborhoods, Partition, processes_of
from tinygraph.parallel.layers import PartitionedDense, PartitionedNeighborhoodDense, whole_state

ITERATIONS = 100
KINDS = ("sgd", "adam", "clipped", "batch-norm", "dropout", "own-masks")


def samples():
    rng = np.random.default_rng(0)
    return rng.standard_normal((130, 20)), rng.integers(0, 5, 130)


def network(kind):
    options = {"batch-norm": {"batch_norm": "hidden"}, "dropout": {"dropout": (0.1, 0.3, 0.3)}}
    options["own-masks"] = options["dropout"]
    net = fully_connected([20, 30, 30, 5], "tanh", seed=1, dtype=np.float64, **options.get(kind, {}))
    for _, module in net.named_modules():
        if isinstance(module, nn.Dropout):
            module.shared = kind == "dropout"
    return net


class Branching(nn.Module):
    """Uses another layer in process 1."""

    def __init__(self):
        self.layers = [nn.Dense(20, 5, seed=k, dtype=np.float64) for k in range(2)]

    def forward(self, x):
        return self.layers[processes_of("mpi").rank](x)


class Normalised(nn.Module):
    """Normalises by the function, which sees its own rows only."""

    def __init__(self):
        self.last = nn.Dense(20, 5, seed=0, dtype=np.float64)

    def forward(self, x):
        return self.last(tg.batch_norm(x, np.ones(20), np.zeros(20)) if self.training else x)


class Clipped(tg.optim.SGD):
    """Gradient descent with limited gradients."""

    def step(self):
        tg.optim.clip_grad_norm(self.params, 0.05)
        super().step()


def trained(kind, parallel, batch_size, **options):
    """Train a network; return its tensors and what happened."""
    tg.manual_seed(3)
    net = network(kind)
    make = {"adam": lambda p: tg.optim.Adam(p, 1e-2), "clipped": lambda p: Clipped(p, 0.1)}
    optimizer = make.get(kind, lambda p: tg.optim.SGD(p, 0.1, momentum=0.5))(net.parameters())
    settings = {"max_iterations": ITERATIONS, "validation": 0.2, "l2": 1e-3, "progress": False, **options}
    history = tg.fit(
        net, tg.losses.cross_entropy, samples(), optimizer, batch_size=batch_size, parallel=parallel, **settings
    )
    return {name: t.numpy() for name, t in net.named_tensors()}, history


def differences(batch_size, compiled):
    """Print how much parameters and history differ from those of one process, for every kind of training."""
    for kind in KINDS:
        difference(kind, batch_size, compiled)


def difference(kind, batch_size, compiled):
    """Print the same for one kind."""
    options = {"early_stopping": 50, "metrics": {"share": lambda p, t: np.mean(p.argmax(1) == t.argmax(1))}}
    options |= {"compiled": compiled == "compiled"}
    alone, before = trained(kind, None, int(batch_size), **options)
    shared, after = trained(kind, "mpi", int(batch_size), **options)
    rows = [
        abs(np.float64(a[name]) - np.float64(b[name]))
        for a, b in zip(before.rows, after.rows, strict=True)
        for name in a
        if name != "seconds"
    ]
    processes = processes_of("mpi")
    greatest = max(abs(alone[name] - shared[name]).max() for name in alone)
    found = processes.gather([float(greatest), float(max(rows)), after.iterations, after.best_epoch, before.best_epoch])
    if processes.rank == 0:
        print(json.dumps([kind, found]))


def digest(kind, batch_size, **options):
    """Print the bits of all parameters."""
    tensors, history = trained(kind, "mpi", int(batch_size), **options)
    processes = processes_of("mpi")
    if processes is None or processes.rank == 0:
        print(json.dumps([{k: v.tobytes().hex() for k, v in tensors.items()}, history.losses, history.stop_reason]))


def continued(path, iterations):
    """Train with a checkpoint, up to so many updates; print the bits."""
    digest("adam", 13, checkpoint=path, checkpoint_every=7, max_iterations=int(iterations))


def own_batches(parts):
    """Print the difference for batches that are no arrays, of which one has a single row."""
    X, Y = samples()
    weights = np.linspace(0.5, 1.5, len(X))
    batches = [tuple(a[k : k + n] for a in (X, Y, weights)[: int(parts)]) for k, n in ((0, 9), (9, 1), (10, 20))]
    found = []
    for parallel in (None, "mpi"):
        net = network("sgd")
        optimizer = tg.optim.SGD(net.parameters(), 0.1)
        tg.fit(net, tg.losses.cross_entropy, batches, optimizer, 5, parallel=parallel, progress=False)
        found.append(np.concatenate([p.numpy().ravel() for p in net.parameters()]))
    if processes_of("mpi").rank == 0:
        print(abs(found[0] - found[1]).max())


def shards(folder):
    """Print the difference from one process with arrays, where processes read their rows of files."""
    X, Y = samples()
    processes = processes_of("mpi")
    if processes.rank == 0:
        tg.data.write_shards(folder, [(X[:40], Y[:40]), (X[40:], Y[40:])])
    processes.gather(None)
    found = []
    for train, parallel in (((X, Y), None), (tg.data.ShardBatches(folder, 13), "mpi")):
        net = network("sgd")
        sgd = tg.optim.SGD(net.parameters(), 0.1)
        tg.fit(net, tg.losses.cross_entropy, train, sgd, 5, 13, parallel=parallel, progress=False)
        found.append(np.concatenate([p.numpy().ravel() for p in net.parameters()]))
    if processes.rank == 0:
        print(abs(found[0] - found[1]).max())


def unseeded():
    """Print whether all processes end with the same network, drawn without a seed."""
    net = fully_connected([20, 8, 5])
    X, Y = samples()
    tg.fit(net, tg.losses.cross_entropy, (X, Y), tg.optim.SGD(net.parameters(), 0.1), 2, parallel="mpi", progress=False)
    values = processes_of("mpi").gather([p.numpy().tobytes() for p in net.parameters()])
    if processes_of("mpi").rank == 0:
        print(all(v == values[0] for v in values))


def wrong(what):
    """Train with something that is wrong, in all processes or in one."""
    rank = processes_of("mpi").rank
    X, Y = samples()
    net, options, rate = network("sgd"), {"epochs": 3, "batch_size": 13, "parallel": "mpi", "progress": False}, 0.1
    if what == "few rows":
        options["batch_size"] = 1
    elif what == "data" and rank == 1:
        X = X + 1
    elif what == "settings" and rank == 1:
        options["l2"] = 0.1
    elif what == "rate":
        rate = 1e308
    elif what == "callback" and rank == 1:
        options["callbacks"] = [lambda training: 1 / 0]
    elif what == "drawn" and rank == 1:
        options["callbacks"] = [lambda training: net.parameters()[0].assign_(net.parameters()[0] + 1.0)]
    elif what == "killed":
        options |= {"epochs": 10**6, "checkpoint": sys.argv[3]}

        def die(training):
            if rank == 1 and len(training.history) == 3:
                os.kill(os.getpid(), signal.SIGKILL)

        options["callbacks"] = [die]
    elif what == "batches":
        options = {"epochs": 2, "parallel": "mpi", "progress": False}
        X = [(X[:20] + rank, Y[:20]), (X[20:50], Y[20:50])]
    elif what == "gradients":
        net, options["compiled"] = Branching(), False
    elif what == "function":
        net = Normalised()
    elif what == "parts":
        nodes = Partition.even(20, 2)
        net, X = nn.Sequential(PartitionedDense(nodes, 5, processes_of("mpi"), dtype=np.float64)), X[:, nodes.own(rank)]
    elif what == "part of a checkpoint":
        nodes = Partition.even(20, 2)
        net, X = nn.Sequential(PartitionedDense(nodes, 5, processes_of("mpi"), dtype=np.float64)), X[:, nodes.own(rank)]
        options = {"epochs": 1, "checkpoint": "nowhere.safetensors"}
    elif what == "backend":
        net.to("strict")
    elif what == "limits" and rank == 1:
        options["epochs"] = 2
    elif what == "exit" and rank == 1:
        options["callbacks"] = [lambda training: sys.exit(0)]
    elif what == "caught":
        options["callbacks"] = [lambda training: rank == 1 and 1 / 0]
    elif what == "absent" and rank == 1:
        return
    train = X if isinstance(X, list) else (X, Y)
    with suppress(ZeroDivisionError) if what == "caught" else nullcontext():
        tg.fit(net, tg.losses.cross_entropy, train, tg.optim.SGD(net.parameters(), rate), **options)


def stopped():
    """Stop by a callback that only one process has; print after how many updates."""
    rank = processes_of("mpi").rank

    class Stop(tg.Callback):
        def batch(self, training):
            time.sleep(0.001)
            if training.history.iterations == 5:
                training.stop("enough")

    _, history = trained("sgd", "mpi", 13, callbacks=[Stop()] * (rank == 1))
    if rank == 0:
        print(history.iterations, history.stop_reason)


def partitioned(parts):
    """Print how a network over a graph that is shared out differs from that of one process."""
    processes = processes_of("mpi")
    rng, n, m = np.random.default_rng(0), 60, 40
    dense, first = rng.random((n, n)) < 0.08, rng.random((m, n)) < 0.1
    before = tg.Neighborhoods.from_dense(first.astype(float))
    among = tg.Neighborhoods.from_dense(dense.astype(float))
    nodes, inputs = Partition.even(n, processes.size), Partition.even(m, processes.size)
    if parts == "uneven":
        nodes = Partition([0, *range(50, 50 + processes.size - 1), n])
    X, Y = rng.standard_normal((40, m)), rng.integers(0, 3, 40)
    own = X[:, inputs.own(processes.rank)]
    options = {"activation": "tanh", "init_bias": "normal", "dtype": np.float64}
    locals_ = (LocalNeighborhoods.of(g, p, nodes, processes.rank) for g, p in ((before, inputs), (among, nodes)))
    hidden = [PartitionedNeighborhoodDense(x, processes, seed=k, **options) for k, x in enumerate(locals_)]
    last = PartitionedDense(nodes, 3, processes, seed=2, dtype=np.float64)
    shared = nn.Sequential(*hidden, last, output="softmax")
    whole = [nn.NeighborhoodDense(g, seed=k, **options) for k, g in enumerate((before, among))]
    alone = nn.Sequential(*whole, nn.Dense(n, 3, seed=2, dtype=np.float64), output="softmax")

    def differ():
        state = whole_state(shared, processes)
        return max(abs(state[name] - t.numpy()).max() for name, t in alone.state_dict().items())

    for compiled in (True, False):
        initial = differ()
        losses = []
        for net, x in ((alone, X), (shared, own)):
            settings = {"batch_size": 7, "compiled": compiled, "progress": False}
            optimizer = tg.optim.Adam(net.parameters(), 1e-2)
            losses.append(np.array(tg.fit(net, tg.losses.cross_entropy, (x, Y), optimizer, 5, **settings).losses))
        trained = differ()
        slopes = []
        for net, x in ((alone, X), (shared, own)):  # of a gradient, too
            inputs_ = tg.tensor(x, requires_grad=True)
            (dx,) = tg.grad(tg.losses.cross_entropy(net(inputs_), Y), [inputs_])
            (second,) = tg.grad((net(inputs_ * 2.0) ** 2).sum(), [inputs_])
            slopes.append(np.concatenate([dx.numpy(), second.numpy()]))
        mine = slopes[0][:, inputs.own(processes.rank)]
        found = [initial if compiled else 0.0, trained, abs(losses[0] - losses[1]).max(), abs(mine - slopes[1]).max()]
        found = np.max(processes.gather(found), axis=0).tolist()
        if processes.rank == 0:
            print(json.dumps(found))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2 : 3 if sys.argv[2:3] == ["killed"] else None])
