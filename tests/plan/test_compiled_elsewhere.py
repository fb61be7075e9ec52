"""Compiled functions and tensors that are copied, pickled, sent to other processes and used after a fork."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import losses, nn, optim
from tinygraph.models import fully_connected

pytestmark = pytest.mark.host


@tg.compile
def doubled(x):
    return x * 2.0


def tripled(x):
    return x * 3.0


class Scaled(nn.Module):
    def __init__(self):
        self.scale = tg.parameter([2.0])
        self.fast = tg.compile(self.scaled)

    def scaled(self, x):
        return x * self.scale


def test_a_compiled_function_that_its_module_names_is_pickled_as_the_name():
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    assert copy.deepcopy(doubled) is doubled


@pytest.mark.parametrize("copied", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy, copy.copy])
def test_a_copy_has_the_options_and_no_plans(copied):
    fast = tg.compile(tripled, check=True, passes=["lowering"])
    fast(tg.tensor([1.0]))
    twin = copied(fast)
    assert twin is not fast
    assert twin.plans == []
    assert len(fast.plans) == 1
    assert (twin.check, twin.passes, twin.function) == (True, ["lowering"], tripled)
    assert float(twin(tg.tensor([2.0]))) == 6.0


@pytest.mark.parametrize("copied", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy])
def test_a_copied_module_with_a_compiled_method_works_on_its_own_parameters(copied):
    net = Scaled()
    x = tg.tensor([1.0])
    assert float(net.fast(x)) == 2.0
    twin = copied(net)
    twin.scale.assign_([5.0])
    assert (float(twin.fast(x)), float(net.fast(x))) == (5.0, 2.0)


def test_a_process_that_is_started_anew_takes_compiled_functions_and_networks(tmp_path):
    (tmp_path / "functions.py").write_text("def tripled(x):\n    return x * 3.0\n", encoding="utf-8")
    reader = "import pickle, sys; f, net, x = pickle.load(sys.stdin.buffer); "
    reader += "pickle.dump((f(x).numpy(), net(x).numpy(), len(f.plans)), sys.stdout.buffer)"
    writer = "import pickle, sys, numpy as np, tinygraph as tg; from functions import tripled; "
    writer += "from tinygraph.models import fully_connected; net = fully_connected([3, 2], seed=0); "
    writer += "x = np.ones((2, 3), np.float32); f = tg.compile(tripled); f(x); "
    writer += "pickle.dump((f, net, x), sys.stdout.buffer)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}

    def python(program, given=b""):
        done = subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    result, output, plans = pickle.loads(python(reader, python(writer)))
    net = fully_connected([3, 2], seed=0)
    np.testing.assert_array_equal(result, np.full((2, 3), 3.0))
    np.testing.assert_array_equal(output, net(np.ones((2, 3), np.float32)).numpy())
    assert plans == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_a_thread_is_inside_a_compiled_function_goes_on():
    fast, x = tg.compile(lambda x: tg.tanh(x * 2.0)), tg.tensor(np.ones((200, 200), np.float32))
    fast(x)
    with fast._lock:  # the child is born while this thread holds it, and calls from another one
        child = os.fork()
        if child == 0:
            caller = threading.Thread(target=fast, args=(x,))
            caller.start()
            caller.join(20)
            os._exit(int(caller.is_alive()))
    for _ in range(300):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_what_was_pickled_lives_on_the_backend_of_its_name(name):
    with tg.backend.using(name):
        t = tg.parameter([1.0, 2.0], name="t", role="bias")
    twin = pickle.loads(pickle.dumps(t))
    assert twin.backend is t.backend
    assert (twin.name, twin.role, twin.requires_grad) == ("t", "bias", True)
    np.testing.assert_array_equal((twin + t).numpy(), [2.0, 4.0])


def test_a_pickled_backend_is_the_one_of_its_name():
    for name in ("numpy", "strict"):
        backend = tg.backend.get_backend(name)
        for twin in (pickle.loads(pickle.dumps(backend)), copy.deepcopy(backend), copy.copy(backend)):
            assert twin is backend


def test_an_unpickled_tensor_takes_a_place_in_the_order_of_its_process():
    t = tg.parameter([2.0])
    for _ in range(3):
        t.assign_(t)
    state = t.__reduce_ex__(4)
    state[2][1]["modified"] = 10**12  # a process that assigned often
    state[2][1]["index"] = 10**12
    twin = object.__new__(tg.Tensor)
    twin.__setstate__(state[2])
    (twin * twin).sum().backward()
    np.testing.assert_array_equal(twin.grad.numpy(), [4.0])


def test_a_pickled_graph_can_be_differentiated():
    W = tg.parameter([3.0])
    y = pickle.loads(pickle.dumps((W * W * 2.0).sum()))
    y.backward()
    (leaf,) = {id(t): t for t in _leaves(y) if t.requires_grad}.values()
    np.testing.assert_array_equal(leaf.grad.numpy(), [12.0])


def test_training_goes_on_after_pickling():
    net, x, y = fully_connected([3, 2], seed=0), np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    optimizer = optim.Adam(net.parameters(), lr=0.1)

    def steps(net, optimizer):
        def step(x, y):
            optimizer.zero_grad()
            loss = losses.squared_error(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        fast = tg.compile(step)
        return [fast(x, y).item() for _ in range(3)]

    steps(net, optimizer)
    twins = pickle.loads(pickle.dumps((net, optimizer)))
    np.testing.assert_array_equal(steps(*twins), steps(net, optimizer))


def _leaves(t):
    stack = [t]
    while stack:
        t = stack.pop()
        stack.extend(t.inputs)
        if t.op is None:
            yield t
