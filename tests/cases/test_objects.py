"""Modules, modes, masks and optimisers as people build them: each test is one kind, with many examples."""

import copy
import itertools
import pickle
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim


class Held(nn.Module):
    """A module that holds whatever it is given."""

    def __init__(self, parts):
        self.parts = parts


def dense(seed=0):
    return nn.Dense(2, 2, seed=seed)


CONTAINERS = {
    "list of lists": (lambda a, b: [[a], [b]], ["parts.0.0", "parts.1.0"]),
    "dict of lists": (lambda a, b: {"left": [a], "right": [b]}, ["parts.left.0", "parts.right.0"]),
    "dict of dicts": (lambda a, b: {"x": {"y": a}, "z": b}, ["parts.x.y", "parts.z"]),
    "list of tuples": (lambda a, b: [(0.5, a), (None, b)], ["parts.0.1", "parts.1.1"]),
    "three deep": (lambda a, b: [[[a, [b]]]], ["parts.0.0.0", "parts.0.0.1.0"]),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_parts_are_found_at_any_depth(kind):
    build, paths = CONTAINERS[kind]
    net = Held(build(dense(), dense(1)))
    assert [name for name, _ in net.named_parameters()] == [f"{path}.{p}" for path in paths for p in ("W", "theta")]
    assert [name for name, _ in net.children()] == paths
    net.freeze()
    assert not any(p.requires_grad for p in net.parameters())


def test_a_list_that_holds_itself_is_looked_through_once():
    parts = [dense()]
    parts.append(parts)
    assert [name for name, _ in Held(parts).named_parameters()] == ["parts.0.W", "parts.0.theta"]


def in_doubles():
    return nn.Dense(2, 2, seed=2, dtype=np.float64)


CHANGES = {
    "an attribute is replaced": lambda net: setattr(net, "first", in_doubles()),
    "an attribute is deleted": lambda net: delattr(net, "first"),
    "a list is extended in front": lambda net: (delattr(net, "first"), net.parts.insert(0, in_doubles())),
    "an item of a list is replaced": lambda net: (delattr(net, "first"), net.parts.__setitem__(0, in_doubles())),
    "a dict inside is filled": lambda net: (delattr(net, "first"), net.parts.__setitem__(0, {"new": in_doubles()})),
    "a parameter is replaced": lambda net: setattr(net.first, "W", in_doubles().W),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_module_holds_is_what_it_holds_at_the_call(change):
    class Net(nn.Module):
        def __init__(self):
            self.first, self.parts = dense(), [dense(1), in_doubles()]

        def forward(self, x):
            return x

    net = Net()
    assert net(np.ones((1, 2), np.float32)).dtype == np.float32
    CHANGES[change](net)
    found, stack = [], [net]  # an oracle of plain loops
    while stack:
        item = stack.pop()
        if isinstance(item, tg.Tensor):
            found.append(item)
        else:
            held = vars(item) if isinstance(item, nn.Module) else item
            inner = list(held.values() if isinstance(held, dict) else held)
            stack += [x for x in reversed(inner) if isinstance(x, nn.Module | tg.Tensor | list | dict)]
    assert [id(p) for p in net.parameters()] == [id(p) for p in found]
    assert net(np.ones((1, 2), np.float32)).dtype == found[0].dtype


def test_bare_parameters_in_nested_lists_are_saved_and_loaded():
    net, other = (Held([[tg.parameter([v]), tg.tensor([v + 1])]]) for v in (1.0, 5.0))
    other.load_state_dict(net.state_dict())
    assert [t.item() for _, t in other.named_tensors()] == [1.0, 2.0]


class Headed(nn.Sequential):
    def __init__(self, first):
        if first:
            self.head = nn.Dense(2, 1, seed=1)
        super().__init__(dense())
        if not first:
            self.head = nn.Dense(2, 1, seed=1)
        self.scale = tg.parameter([2.0])

    def forward(self, x):
        return self.scale * self.head(super().forward(x))


@pytest.mark.parametrize("first", [False, True])
def test_attributes_of_a_sequential_are_trained(first):
    net = Headed(first)
    assert {name for name, _ in net.named_parameters()} == {"0.W", "0.theta", "head.W", "head.theta", "scale"}
    net(np.ones((3, 2), np.float32)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_layers_appended_later_have_the_names_of_their_paths():
    class Net(Held):
        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return x

    net = Net([dense()])
    net.parts.append(dense(1))
    y = net(np.ones((1, 2), np.float32))
    assert y.scope.path == "parts.1"
    assert "parts.1.W" in dict(net.named_parameters())


@pytest.mark.parametrize("value", [np.ones((2, 2), np.float32), [[1.0, 0.0], [0.0, 1.0]], 1.0, 3])
def test_numbers_do_not_take_the_place_of_a_parameter(value):
    net = dense()
    before = net.W
    with pytest.raises(tg.ArgumentError, match=r"\.W is a tensor.*\.W\.assign_\(value\)"):
        net.W = value
    assert net.W is before
    net.W = tg.parameter(np.ones((2, 2), np.float32))
    assert net.W is not before


@pytest.mark.parametrize("make", [dense, lambda: tg.parameter([1.0]), lambda: nn.Sequential(dense())])
def test_output_is_a_name(make):
    with pytest.raises(tg.ArgumentError, match=r"\.output is the name of the output activation.*\.head"):
        Held([]).output = make()


COPIES = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSProp])
def test_network_and_optimizer_are_copied_together(way, make):
    net = dense()
    pair = COPIES[way]((net, make(net.parameters(), lr=0.1)))
    for model, optimizer in ((net, make(net.parameters(), lr=0.1)), pair):
        for _ in range(3):
            optimizer.zero_grad()
            (model(tg.tensor(np.ones((1, 2), np.float32))) ** 2).sum().backward()
            optimizer.step()
    np.testing.assert_array_equal(pair[0].W.numpy(), net.W.numpy())


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.1)])
def test_state_of_an_optimizer_follows_its_network(make):
    x = np.ones((3, 2), np.float32)
    weights = []
    for moved in (False, True):
        net = dense()
        optimizer = make(net.parameters())
        for i in range(4):
            if moved and i == 2:
                net.to("strict")
            optimizer.zero_grad()
            (net(x) ** 2).sum().backward()
            optimizer.step()
        weights.append(net.to("numpy").W.numpy())
    np.testing.assert_allclose(*weights, rtol=1e-6)  # BLAS may round a product and a difference at once


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSProp, optim.AdamW])
def test_a_parameter_given_twice_is_changed_once(make):
    results = []
    for times in (1, 2):
        p = tg.parameter([1.0, 2.0])
        optimizer = make([p] * times, lr=0.1)
        (p * p).sum().backward()
        optimizer.step()
        results.append(p.numpy())
    np.testing.assert_array_equal(*results)


def recorded():
    return (tg.parameter([1.0]) * 2.0).requires_grad


def test_one_no_grad_nested_in_itself_and_in_others():
    quiet, loud = tg.no_grad(), tg.enable_grad()
    with quiet:
        assert not recorded()
        with loud:
            assert recorded()
            with quiet, quiet:
                assert not recorded()
            assert recorded()
        assert not recorded()
    assert recorded()
    with pytest.raises(KeyError), quiet, quiet:
        raise KeyError
    assert recorded()


def test_one_no_grad_in_two_threads():
    quiet, inside, leave, seen = tg.no_grad(), threading.Event(), threading.Event(), []

    def other():
        with quiet:
            inside.set()
            leave.wait(10)
        seen.append(recorded())

    thread = threading.Thread(target=other)
    with tg.enable_grad(), quiet:
        thread.start()
        inside.wait(10)
    assert recorded()
    leave.set()
    thread.join(10)
    assert seen == [True]


def test_no_grad_as_decorator():
    @tg.no_grad()
    def values(n):
        """Doc."""
        return recorded() if n == 0 else values(n - 1)

    assert not values(0)
    assert not values(3)
    assert recorded()
    assert (values.__name__, values.__doc__) == ("values", "Doc.")


def test_a_decorated_generator_keeps_its_mode_to_itself():
    @tg.no_grad()
    def values():
        caught = None
        try:
            for i in range(3):
                got = yield i, recorded()
                assert got in (None, i)
        except KeyError as error:
            caught = error
        yield caught, recorded()
        return "end"

    g = values()
    assert next(g) == (0, False)
    assert recorded()
    assert g.send(0) == (1, False)
    with tg.no_grad():
        pass
    assert recorded()
    caught, quiet = g.throw(KeyError("x"))
    assert isinstance(caught, KeyError)
    assert not quiet
    with pytest.raises(StopIteration) as end:
        next(g)
    assert end.value.value == "end"
    h = values()
    next(h)
    h.close()
    assert recorded()


def waiting(block, *inner):
    """A generator that waits inside blocks, each a class to enter anew or one block to share."""
    with block() if isinstance(block, type) else block:
        if inner:
            yield from waiting(*inner)
        else:
            yield


KINDS = (tg.no_grad, tg.enable_grad)


@pytest.mark.host
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_generators_that_wait_in_blocks_are_closed_in_any_order(order, first, shared):
    """The mode is that of the block entered last of those that are left; at the end all is as before."""
    kinds = [first, KINDS[0], KINDS[1], KINDS[0]]
    one = tg.no_grad()
    generators = [waiting(one if shared and kind is tg.no_grad else kind) for kind in kinds]
    for g in generators:
        next(g)
    left = dict(enumerate(kinds))
    for i in order:
        if not shared:
            assert recorded() == (list(left.values())[-1] is tg.enable_grad)
        generators[i].close()
        del left[i]
    assert recorded()
    with tg.no_grad():
        assert not recorded()
    assert recorded()


def test_a_generator_closed_inside_a_block_leaves_that_as_it_is():
    g = waiting(tg.no_grad, tg.enable_grad, tg.no_grad)
    next(g)
    with tg.enable_grad():
        g.close()
        assert recorded()
        with tg.no_grad():
            assert not recorded()
        assert recorded()
    assert recorded()


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_generator_closed_by_another_thread_leaves_the_mode_of_that(blocks):
    g, seen = waiting(tg.enable_grad), []
    next(g)

    def close():
        with tg.no_grad() if blocks else nullcontext():
            g.close()
            seen.append(recorded())
        seen.append(recorded())

    thread = threading.Thread(target=close)
    thread.start()
    thread.join(10)
    assert seen == [not blocks, True]
    assert recorded()


def test_masks_of_threads_are_different():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    masks = []

    def draw():
        masks.extend([tg.bernoulli(0.5, 128).numpy().tobytes() for _ in range(150)])

    try:
        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert len(set(masks)) == len(masks) == 600
