"""The graph as an object: nodes, edges, clusters, the text table."""

import gc
import time
import weakref
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn
from tinygraph.graphs import graph
from tinygraph.mode import mode
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host


class Call:
    """A module call as `nn` makes them, without a module."""

    def __init__(self, path, call=1, kind="Dense", parent=None):
        self.path, self.call, self.kind, self.parent = path, call, kind, parent


def applied(scope, function, *inputs):
    """Return what `function` makes of `inputs` during a module call."""
    mode.scope = scope
    try:
        return function(*inputs)
    finally:
        mode.scope = None


def small_loss():
    x = tg.tensor(np.ones((3, 2), np.float32), name="x")
    W = tg.parameter(np.ones((2, 4), np.float32), name="W1")
    theta = tg.parameter(np.zeros(4, np.float32), name="theta1", role="bias")
    return tg.sum(tg.tanh(tg.bias(x @ W, theta)))


def by_name(g, name):
    (node,) = [n for n in g.nodes if n.name == name]
    return node


# -- nodes ----------------------------------------------------------------------------------------------


def test_nodes_are_the_tensors_in_order_of_creation():
    g = graph(small_loss())
    assert [n.label for n in g.nodes] == ["x", "W1", "theta1", "matmul", "bias", "tanh", "sum"]
    assert [n.id for n in g.nodes] == list(range(7))


def test_edges_lead_from_inputs_to_results():
    assert graph(small_loss()).edges == [(0, 3), (1, 3), (3, 4), (2, 4), (4, 5), (5, 6)]


def test_a_tensor_used_twice_by_one_operation_has_two_edges():
    x = tg.tensor([1.0, 2.0], name="x")
    assert graph(x * x).edges == [(0, 1), (0, 1)]


def test_kinds():
    g = graph(small_loss() * 2.0)
    assert [n.kind for n in g.nodes] == ["input", "parameter", "parameter", "op", "op", "op", "op", "constant", "op"]


def test_a_node_knows_shape_dtype_bytes_parameters_and_rule():
    g = graph(small_loss())
    W, tanh = g.nodes[1], g.nodes[5]
    assert (W.shape, W.dtype, W.bytes, W.parameters) == ((2, 4), "float32", 32, 8)
    assert (tanh.shape, tanh.op, tanh.rule, tanh.parameters) == ((3, 4), "tanh", tg.tanh.op.rule, 0)


def test_a_frozen_parameter_is_still_a_parameter():
    layer = nn.Dense(2, 3).freeze()
    g = graph(layer(np.ones((1, 2), np.float32)))
    assert sum(n.parameters for n in g.nodes) == 9


def test_nodes_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        graph(small_loss()).nodes[0].label = "y"


def test_only_what_was_asked_for_is_an_output():
    g = graph(small_loss())
    assert [n.id for n in g.nodes if n.is_output] == [6]


def test_several_targets_make_one_graph():
    x = tg.tensor([1.0], name="x")
    g = graph([tg.exp(x), tg.tanh(x)])
    assert [n.label for n in g.nodes if n.is_output] == ["exp", "tanh"]
    assert len(g) == 3


def test_a_number_used_before_does_not_change_the_order():
    x = tg.tensor([1.0], name="x")
    first = graph(tg.exp(x) * 0.731)
    second = graph(tg.exp(x) * 0.731)  # 0.731 is now older than this exp
    assert first.nodes == second.nodes
    assert [n.label for n in first.nodes] == ["x", "exp", "0.731", "multiply"]


def test_the_graph_holds_no_tensors():
    loss = small_loss()
    inner = weakref.ref(loss.inputs[0])
    g = graph(loss, backward=True)
    del loss
    gc.collect()
    assert inner() is None
    assert len(g) > 7


# -- from a module --------------------------------------------------------------------------------------


def test_the_batch_is_shown_as_B():
    g = graph(fully_connected([5, 4, 3]), input_shape=(None, 5))
    assert by_name(g, "x").shape == ("B", 5)
    assert [n.shape for n in g.nodes if n.is_output] == [("B", 3)]


def test_a_length_that_happens_to_be_two_is_not_the_batch():
    g = graph(fully_connected([2, 2, 2]), input_shape=(None, 2), backward=True)
    assert {n.shape for n in g.nodes if n.name == "W"} == {(2, 2)}
    assert {n.shape for n in g.nodes if n.name == "dQ/dW"} == {(2, 2)}
    assert {n.shape for n in g.nodes if n.name == "z"} == {("B", 2)}


def test_multiples_of_the_batch_are_shown():
    g = graph(lambda x: tg.reshape(x, -1), input_shape=(None, 3))
    assert g.nodes[-1].shape == ("3B",)
    assert g.nodes[-1].bytes == 12


def test_a_factor_one_over_the_batch_is_shown():
    g = graph(lambda x: tg.sum(x) * (1.0 / x.shape[0]), input_shape=(None, 3))
    assert "1/B" in [n.label for n in g.nodes]


def test_a_computation_that_depends_on_the_batch_is_shown_for_two():
    g = graph(lambda x: sum((x[i] for i in range(len(x))), tg.tensor(0.0)), input_shape=(None, 3))
    assert by_name(g, "x").shape == (2, 3)


def test_a_fixed_input_shape_is_kept():
    assert graph(tg.exp, input_shape=(2, 3)).nodes[0].shape == (2, 3)


def test_several_inputs():
    g = graph(tg.add, input_shape=((None, 3), (3,)))
    assert [(n.name, n.shape) for n in g.nodes] == [("a", ("B", 3)), ("b", (3,)), ("", ("B", 3))]


def test_the_input_takes_the_dtype_of_the_parameters():
    g = graph(fully_connected([3, 2], dtype=np.float64), input_shape=(None, 3))
    assert by_name(g, "x").dtype == "float64"


def test_looking_leaves_state_as_it_was():
    class Counting(nn.Module):
        def __init__(self):
            self.inner = nn.Dense(2, 2)
            self.seen = tg.tensor(np.zeros(2, np.float32))

        def forward(self, x):
            self.seen.assign_(self.seen + 1.0)
            return self.inner(x)

    net = Counting().eval()
    before = net.seen.modified
    graph(net, input_shape=(None, 2), backward=True)
    assert net.seen.numpy().tolist() == [0.0, 0.0]
    assert net.seen.modified == before
    assert not net.training
    assert all(p.grad is None for p in net.parameters())


def test_looking_works_inside_no_grad():
    with tg.no_grad():
        g = graph(fully_connected([3, 2]), input_shape=(None, 3))
    assert "matmul" in [n.label for n in g.nodes]
    assert mode.recording


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((3,), {}, "graph: expected a tensor, a list of tensors, a module or a function, got int"),
        ((tg.exp,), {}, "needs input_shape"),
        ((tg.exp,), {"input_shape": (3, None)}, "the first of which may be None"),
        ((tg.exp,), {"input_shape": (0, 3)}, "positive whole numbers"),
        ((tg.exp,), {"input_shape": 3}, "must be a tuple"),
        (([],), {}, "a tensor or a sequence of tensors"),
        ((lambda x: 3,), {"input_shape": (3,)}, "the result must be a tensor or a sequence of tensors, got int"),
    ],
)
def test_wrong_arguments_are_named(arguments, options, text):
    with pytest.raises(tg.ArgumentError) as error:
        graph(*arguments, **options)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_input_shape_for_a_tensor_is_refused():
    with pytest.raises(tg.ArgumentError, match="a tensor has its graph already"):
        graph(small_loss(), input_shape=(2, 2))


def test_wrt_without_backward_is_refused():
    with pytest.raises(tg.ArgumentError, match="needs backward=True"):
        graph(small_loss(), wrt=[tg.tensor(1.0)])


# -- gradients ------------------------------------------------------------------------------------------


def test_gradients_are_named_after_what_they_are_the_gradients_of():
    g = graph(small_loss(), backward=True)
    named = {n.name: n.shape for n in g.nodes if n.is_gradient and n.is_output}
    assert named == {"dQ/dW1": (2, 4), "dQ/dtheta1": (4,)}


def test_a_named_loss_names_its_gradients():
    loss = small_loss()
    loss.name = "L"
    assert by_name(graph(loss, backward=True), "dL/dW1").kind == "op"


def test_the_forward_nodes_are_the_same_with_backward():
    loss = small_loss()
    forward = graph(loss).nodes
    nodes = [replace(n, sensitivity=None) for n in graph(loss, backward=True).nodes[: len(forward)]]
    assert tuple(nodes) == forward
    assert not any(n.is_gradient for n in forward)


def test_signals_with_names_have_named_gradients():
    net = fully_connected([3, 4, 2])
    loss = losses.cross_entropy(net(np.ones((2, 3), np.float32)), np.array([0, 1]))
    scopes = [n.scope for n in graph(loss, backward=True).nodes if n.name == "dQ/dz"]
    assert len(scopes) == 2  # one for each layer


def test_wrt_chooses():
    x = tg.tensor([1.0, 2.0], name="x")
    g = graph(tg.sum(x * x), backward=True, wrt=x)
    assert [n.name for n in g.nodes if n.is_gradient and n.is_output] == ["dQ/dx"]


def test_a_target_with_several_entries_gets_a_gradient_to_start_from():
    g = graph(fully_connected([3, 2]), input_shape=(None, 3), backward=True)
    assert [n.shape for n in g.nodes if n.name == "dQ/dz"] == [("B", 2)]


def test_backward_without_leaves_says_what_to_do():
    with pytest.raises(tg.GraphError, match=r"requires_grad=True, or pass wrt"):
        graph(tg.exp(tg.tensor([1.0])), backward=True)


def test_backward_touches_no_grad():
    loss = small_loss()
    graph(loss, backward=True)
    assert all(t.grad is None for t in tg.autodiff.ancestors([loss]))


# -- clusters -------------------------------------------------------------------------------------------


def test_every_layer_is_a_cluster():
    g = graph(fully_connected([4, 3, 3, 2]), input_shape=(None, 4))
    assert [(c.title, c.kind, c.parent) for c in g.clusters] == [
        ("layer1", "Dense", None),
        ("layer2", "Dense", None),
        ("layer3", "Dense", None),
    ]


def test_parameters_stand_with_their_layer_and_inputs_outside():
    g = graph(fully_connected([4, 3, 2]), input_shape=(None, 4))
    assert [n.scope for n in g.nodes if n.kind == "parameter"] == ["layer1", "layer1", "layer2", "layer2"]
    assert by_name(g, "x").cluster is None


def test_a_regulariser_does_not_pull_weights_out_of_their_layer():
    net = fully_connected([4, 2])
    g = graph(losses.l2(net, 0.1) + tg.sum(net(np.ones((1, 4), np.float32))))
    assert [n.scope for n in g.nodes if n.name == "W"] == ["layer1"]


def test_clusters_nest():
    outer = Call("", kind="Net")
    block = Call("block", kind="Block", parent=outer)
    inner = Call("block.inner", parent=block)
    y = applied(inner, tg.exp, tg.tensor([1.0], name="x"))
    y = applied(block, tg.tanh, y)
    g = graph(applied(outer, tg.sum, y))
    assert [(c.title, c.scope, c.parent) for c in g.clusters] == [("block", "block", None), ("inner", "block.inner", 0)]
    assert [n.scope for n in g.nodes] == ["", "block.inner", "block", ""]


def test_a_shared_module_has_a_cluster_for_each_call_and_its_parameters_once_outside():
    class Siamese(nn.Module):
        def __init__(self):
            self.branch = nn.Dense(3, 2)

        def forward(self, a, b):
            return self.branch(a) - self.branch(b)

    g = graph(Siamese(), input_shape=((None, 3), (None, 3)))
    assert [(c.title, c.scope) for c in g.clusters] == [("branch #1", "branch#1"), ("branch #2", "branch#2")]
    assert [(n.name, n.cluster) for n in g.nodes if n.kind == "parameter"] == [("W", None), ("theta", None)]


def test_a_network_called_twice_has_two_clusters():
    net = nn.Dense(3, 2)
    x = np.ones((1, 3), np.float32)
    g = graph(net(x) + net(x))
    assert [c.title for c in g.clusters] == ["Dense #1", "Dense #2"]


def test_one_layer_alone_has_its_cluster():
    g = graph(nn.Dense(3, 2), input_shape=(None, 3))
    assert [c.title for c in g.clusters] == ["Dense"]


def test_gradients_stand_with_their_layer():
    g = graph(fully_connected([4, 3, 2]), input_shape=(None, 4), backward=True)
    assert {n.scope for n in g.nodes if n.name == "dQ/dW"} == {"layer1", "layer2"}


# -- the table ------------------------------------------------------------------------------------------


def test_the_summary_lists_every_node_and_the_totals():
    g = graph(fully_connected([5, 4, 3]), input_shape=(None, 5))
    lines = g.summary().splitlines()
    assert lines[0].split() == ["op", "name", "module", "shape", "parameters", "bytes", "at", "B", "=", "1"]
    assert len(lines) == len(g) + 4
    assert lines[-1].split() == [str(len(g)), "nodes", "39", str(sum(n.bytes for n in g.nodes))]


def test_the_columns_of_the_summary_are_aligned():
    lines = graph(small_loss()).summary().splitlines()
    place = lines[0].index("shape")
    assert [line[place] for line in lines[2:-2]] == ["("] * 6 + ["s"]
    assert len({len(line) for line in lines}) == 1


def test_a_long_summary_says_how_much_is_left_out():
    x = tg.tensor(1.0, name="x")
    for _ in range(999):
        x = tg.tanh(x)
    g = graph(x)
    lines = g.summary(max_rows=10).splitlines()
    assert len(lines) == 15
    assert lines[7] == "... 990 more nodes; summary(max_rows=None) lists them all"
    assert len(g.summary(max_rows=None).splitlines()) == 1004


def test_a_name_with_a_newline_stays_on_its_row():
    g = graph(tg.exp(tg.tensor(1.0, name="a\nb")))
    assert len(g.summary().splitlines()) == 6
    assert "a\\nb" in g.summary()


def test_repr_is_one_line():
    assert repr(graph(small_loss())) == "Graph(7 nodes, 12 parameters)"


@pytest.mark.slow
def test_a_hundred_thousand_nodes():
    x = tg.tensor([1.0], requires_grad=True, name="x")
    y = x
    for _ in range(100_000):
        y = tg.tanh(y)
    start = time.perf_counter()
    g = graph(y)
    assert len(g) == 100_001
    assert "99,801 more nodes" in g.summary()
    assert g.to_dot().count(" -> ") == 100_000
    assert time.perf_counter() - start < 30
