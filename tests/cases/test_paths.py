"""A part of a network has its path wherever it is called: in forward, by a loss, by a method, by a module above."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim

pytestmark = pytest.mark.host
X = np.ones((2, 2), np.float32)


def dense(seed=0):
    return nn.Dense(2, 2, seed=seed)


class Net(nn.Module):
    """Parts in every kind of place."""

    def __init__(self):
        self.first = dense()
        self.branch = nn.Sequential(dense(1), nn.Sequential(dense(2)))
        self.blocks = [[dense(3)], {"left": dense(4)}]
        self.later = []

    def forward(self, x):
        return self.first(x)

    def encode(self, x):
        return self.branch(x)


def built():
    net = Net()
    net.later.append(dense(5))
    net.parameters()  # as an optimiser is made: what was put into a list is found
    return net


def every_part(net):
    return [(path, module) for path, module in net.named_modules() if path]


NETWORKS = {
    "built": built,
    "deep copy": lambda: (lambda net: (net.parameters(), net)[1])(copy.deepcopy(built())),
    "unpickled": lambda: (lambda net: (net.parameters(), net)[1])(pickle.loads(pickle.dumps(built()))),
    "shallow copy": lambda: (lambda net: (net.train(), net)[1])(copy.copy(built())),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_part_called_by_itself_has_its_path(kind):
    net = NETWORKS[kind]()
    parts = every_part(net)
    assert len(parts) == 8
    for path, part in parts:
        assert part(X).scope.path in (path, f"{path}.0", f"{path}.0.0", f"{path}.1.0")
        with pytest.raises(tg.ShapeError, match=rf"^{path}(\.0)*: matmul"):
            part(np.ones((2, 3), np.float32))
    assert net(X).scope.path == "first"
    assert net.encode(X).scope.path == "branch.1.0"


def test_a_loss_that_calls_parts_is_drawn_listed_and_blamed_with_their_paths():
    net = Net()

    def loss(net, x, y):
        return tg.sum((net.blocks[1]["left"](net.encode(x)) - y) ** 2)

    y = loss(net, tg.tensor(X, name="x"), X)
    graph = tg.graph(y)
    named = {node.scope for node in graph.nodes if node.name == "z"}
    assert named == {"branch.0", "branch.1.0", "blocks.1.left"}
    assert [c.title for c in graph.clusters] == ["branch", "0", "1", "0", "blocks.1.left"]
    compiled = tg.compile(loss)
    compiled(net, X, X)
    assert "blocks.1.left.W" in str(compiled.plan)
    assert {"branch.0", "blocks.1.left"} <= {node.scope for node in compiled.plan.graph().nodes}
    net.branch[1][0].W.assign_(np.full((2, 2), 3e38, np.float32))
    with np.errstate(all="ignore"), pytest.raises(tg.AnomalyError, match=r"in branch\.1\.0"), tg.detect_anomaly():
        loss(net, X, X)


def test_one_part_alone_keeps_its_box():
    net = Net()
    assert [c.scope for c in tg.graph(tg.sum(net.branch(X))).clusters] == [
        "branch",
        "branch.0",
        "branch.1",
        "branch.1.0",
    ]
    whole = tg.graph(net, input_shape=(None, 2))
    assert [c.scope for c in whole.clusters] == ["first"]


def test_a_part_called_twice_by_a_loss():
    net = Net()
    graph = tg.graph(net.first(net.first(X)))
    assert [c.title for c in graph.clusters] == ["first #1", "first #2"]


def test_fit_names_the_part_that_does_not_fit():
    net = built()

    def loss(net, x, y):
        return losses.squared_error(net.later[0](x), y)

    rule = optim.SGD(net.parameters(), 0.1)
    with pytest.raises(tg.ShapeError, match=r"^later\.0: matmul"):
        tg.fit(net, loss, (np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)), rule, 1)


def test_a_module_that_calls_what_lies_deeper_names_all_between():
    class Above(nn.Module):
        def __init__(self):
            self.inner = Net()

        def forward(self, x):
            return self.inner.blocks[0][0](self.inner.branch[1][0](x))

    above = Above()
    y = above(X)
    assert y.scope.path == "inner.blocks.0.0"
    assert y.inputs[0].inputs[0].scope.path == "inner.branch.1.0"
    assert {y.scope.path, "inner.branch.1.0"} <= dict(above.named_modules()).keys()


def test_a_shared_part_has_the_label_of_the_one_that_calls_it():
    class User(nn.Module):
        def __init__(self, part, name):
            setattr(self, name, part)
            self.name = name

        def forward(self, x):
            return getattr(self, self.name)(x)

    part = dense()
    one, other = User(part, "first"), User(part, "second")
    assert [user(X).scope.path for user in (one, other)] == ["first", "second"]
    assert part(X).scope.path == "first"  # the one it was first a part of, as long as that lives
    del one
    gc.collect()
    assert part(X).scope.path == ""
    both = User(part, "third")
    assert part(X).scope.path == "third"
    assert both(X).scope.path == "third"


def test_a_part_that_knows_what_is_around_it():
    class Knowing(nn.Module):
        def __init__(self, around):
            self.layer = dense()
            if around is not None:
                self.around = around

    class Around(nn.Module):
        def __init__(self):
            self.part = Knowing(None)
            self.part.around = self

        def forward(self, x):
            return self.part.layer(x)

    net = Around()
    assert net.part.layer(X).scope.path == "part.layer"
    assert net(X).scope.path == "part.layer"
    assert tg.graph(net, input_shape=(None, 2)).clusters[0].scope == "part.layer"


def test_a_part_keeps_no_network_alive_and_is_copied_alone():
    net = Net()
    part, alive = net.first, weakref.ref(net)
    alone = pickle.dumps(part)
    assert b"branch" not in alone
    assert copy.deepcopy(part)(X).scope.path == ""
    del net
    gc.collect()
    assert alive() is None
    assert part(X).scope.path == ""
