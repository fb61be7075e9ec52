"""Random programs, as text: functions, modules, optimisers, and what changes between the calls.

A program reads Python state of every kind, computes with leaves, and may train. Every line is legal whatever the
others are, since shapes are known while lines are chosen; "n" is the batch, which differs from call to call.
"""

import random
import re
from dataclasses import dataclass, replace

DTYPES = ("float16", "float32", "float64")

# What a program may read: a name, the lines that make it, an expression for a number, and lines that change it. `D` is
# the dtype, `A` a fresh number, `B` one above 0.
STATE = {
    "global": (["scale = A"], "scale", ["scale = A"]),
    "global in a comprehension": (["part = A"], "sum([part * i for i in (1, 2)])", ["part = A"]),
    "global in a lambda": (["inner = A"], "(lambda: inner)()", ["inner = A"]),
    "flag": (["flag = True"], "(A if flag else A)", ["flag = not flag"]),
    "list": (["items = [A, A]"], "items[1]", ["items[1] = A", "items.reverse()"]),
    "list walked through": (["steps = [A, A]"], "sum(steps)", ["steps.append(A)", "steps.pop()", "steps[0] = A"]),
    "dict": (["table = {'a': A, 'b': A}"], "table['a']", ["table['a'] = A", "table['c'] = A"]),
    "dict by a variable key": (["row, key = {'a': A, 'b': A}, 'a'"], "row[key]", ["key = 'b'", "row['a'] = A"]),
    "nested dict": (
        ["deep = {'a': {'b': [A]}}"],
        "deep['a']['b'][0]",
        ["deep['a']['b'][0] = A", "deep['a'] = {'b': [A]}"],
    ),
    "set": (["chosen = {1, 2}"], "(A if 3 in chosen else A)", ["chosen ^= {3}"]),
    "tuple": (["pair = (A, A)"], "pair[0]", ["pair = (A, A)"]),
    "object": (
        ["box = types.SimpleNamespace(rate=A)"],
        "box.rate",
        ["box.rate = A", "box = types.SimpleNamespace(rate=A)"],
    ),
    "object, a name looked up": (["bag = types.SimpleNamespace(rate=A)"], "getattr(bag, 'rate')", ["bag.rate = A"]),
    "class attribute": (
        ["class Kind:\n    rate = A", "kind = Kind()"],
        "kind.rate",
        ["Kind.rate = A", "kind.rate = A"],
    ),
    "property": (
        ["class Prop:\n    _r = A\n    @property\n    def rate(self):\n        return self._r", "prop = Prop()"],
        "prop.rate",
        ["prop._r = A", "Prop._r = A"],
    ),
    "slots": (
        ["class Slot:\n    __slots__ = ('rate',)", "slot = Slot()", "slot.rate = A"],
        "slot.rate",
        ["slot.rate = A"],
    ),
    "dataclass": (
        ["@dataclasses.dataclass\nclass Conf:\n    rate: float = A", "conf = Conf()"],
        "conf.rate",
        ["conf.rate = A", "conf = Conf(A)"],
    ),
    "helper": (
        ["level = A", "def helper():\n    return level"],
        "helper()",
        ["level = A", "def helper():\n    return A"],
    ),
    "default": (["def preset(v=A):\n    return v"], "preset()", ["preset.__defaults__ = (A,)"]),
    "closure": (
        [
            "def enclose(v):\n    def get():\n        return v\n    def put(u):\n        nonlocal v\n        v = u\n"
            "    return get, put",
            "get, put = enclose(A)",
        ],
        "get()",
        ["put(A)"],
    ),
    "partial": (["bound = functools.partial(lambda v: v, v=A)"], "bound()", ["bound.keywords['v'] = A"]),
    "module of Python": (["cfg = types.ModuleType('cfg')", "cfg.rate = A"], "cfg.rate", ["cfg.rate = A"]),
    "length": (["things = [1, 2]"], "float(len(things))", ["things.append(3)"]),
    "attribute of a network": ([], "net.factor", ["net.factor = A"]),
    "mode of a network": ([], "(A if net.training else A)", ["net.train(not net.training)"]),
    "array without axes": (["spot = np.array(A, D)"], "spot", ["spot[...] = A", "spot = np.array(A, D)"]),
    "array": (["grid = np.array([A, A, A], D)"], "grid", ["grid[0] = A"]),
    "tensor without axes": (["point = tg.tensor(np.array(A, D))"], "point", ["point.assign_(np.array(A, D))"]),
    "argument": ([], "s", []),
    "argument in a dict": ([], "o['s'][0]", []),
    "argument that is an array": ([], "o['a']", []),
    "argument that is a text": ([], "(A if o['way'] == 'up' else A)", []),
}
HOST_ARRAYS = {"array", "array without axes", "argument that is an array"}  # other backends refuse to read those
NET = """
class Net(nn.Module):
    def __init__(self):
        self.W = tg.parameter(numbers(3, 3), dtype=D)
        self.theta = tg.parameter(numbers(3), dtype=D, role="bias")
        self.factor, self.act, self.parts = A, tg.tanh, [A, A]
        self.drop = nn.Dropout(0.5)
    def forward(self, a):
        z = self.act(a @ self.W - self.theta) * self.factor
        for part in self.parts:
            z = z * part
        return self.drop(z) if self.training else z
net = Net()
"""
NET_CHANGES = [
    "net.act = tg.sigmoid",
    "net.parts.append(A)",
    "net.parts[0] = A",
    "net.W = tg.parameter(numbers(3, 3), dtype=D)",
]
NET_CHANGES += ["net.eval()", "net.train()", "net.W.assign_(numbers(3, 3))", "net.drop.p = 0.25", "net.factor = A"]
NET_CHANGES += ["net.theta.requires_grad = False", "net.freeze()", "net.unfreeze()", "del net.factor; net.factor = A"]
LEAVES = {"w": (), "u": (3,), "V": (3, 3), "t": (1, 3), "q": (1, 1)}
LEAF_CHANGES = ["{0}.assign_(numbers{1})", "{0}.data = {0}.backend.asarray(numbers{1})", "{0}.grad = None"]
LEAF_CHANGES += ["{0} = tg.parameter(numbers{1}, dtype=D)", "{0}.assign_({0} * A)"]
OPTIMISERS = {
    "optim.SGD([{}], B / 10)": ["opt.lr = B / 10"],
    "optim.SGD([{}], B / 10, 0.9)": ["opt.lr = B / 10", "opt.momentum = 0.5", "opt.nesterov = not opt.nesterov"],
    "optim.Adam([{}], B / 100)": ["opt.lr = B / 100", "opt = optim.SGD(opt.params, 0.1)"],
    "optim.RMSProp([{}], B / 100)": ["opt.lr = B / 100"],
    "optim.AdamW([{{'params': [{}], 'lr': B / 50, 'weight_decay': 0.1}}], B / 100)": [
        "opt.lr = B / 100",
        "opt.eps = 1e-3",
        "opt.groups[0].settings['weight_decay'] = B / 4",
    ],
}
OPT_CHANGES = ["opt.params.reverse()", "opt.params = opt.params[:1]", "opt.zero_grad()"]
# Expressions of a tensor {0} that have its shape, and of two tensors that fit together.
SAME_SHAPE = """\
tg.tanh({0})
tg.sigmoid({0})
tg.relu({0})
-{0}
tg.exp(tg.tanh({0}))
tg.square(tg.tanh({0}))
tg.abs({0})
tg.softplus({0})
tg.gelu({0})
tg.silu({0})
tg.softsign({0})
tg.sin({0})
tg.log1p(tg.abs({0}))
tg.reshape(tg.cumsum({0}), {0}.shape)
tg.reshape(tg.sort({0}, None), {0}.shape)
tg.where(({0} > A) & ~({0} < 0.1) | ({0} > 1.0), {0}, A)
tg.tril({0}) if {0}.ndim > 1 else {0}
tg.einsum("...,...", {0}, {0})
{0} * A
{0} + A
{0} / A
A - {0}
tg.maximum({0}, A)
tg.minimum(A, {0})
{0} * 1.0
tg.where({0} > 0.3, {0}, A)
tg.sqrt(tg.square({0}) + 1.0)
({0} * A) * A
{0} + 0.0
tg.elu({0})
tg.power(tg.square({0}) + 1.0, -0.5)
tg.divide_or_zero({0}, tg.relu({0}))
{0} - {0} * A
{0}.detach() * A
tg.mask({0}, tg.bernoulli(0.5, {0}.shape, D, {0}.backend))
{0} + tg.normal({0}.shape, 0.5, {0}, D, {0}.backend)
{0} * tg.uniform({0}.shape, -0.5, 2.0, D, {0}.backend)
tg.where(tg.equal({0}, {0}), {0}, A)
""".splitlines()
TWO = """\
{0} + {1}
{0} - {1}
{0} * {1}
{0} / (tg.square({1}) + 1.0)
tg.maximum({0}, {1})
tg.minimum({0}, {1})
tg.where({0} > {1}, {0}, {1} * A)
{0} * A + {1} * A
{0} - A * {1}
""".splitlines()


@dataclass(frozen=True)
class Line:
    """One line of the function: a name, what it stands for, its shape, and what it could be put in the place of."""

    name: str
    text: str
    shape: tuple
    of: tuple = ()

    def __str__(self):
        return f"    {self.name} = {self.text}"


@dataclass(frozen=True)
class Program:
    """A program in parts, so that parts can be left out."""

    dtype: str
    setup: tuple
    lines: tuple
    training: tuple
    results: tuple
    changes: tuple  # of the first change and of the second
    args: str

    @property
    def source(self):
        """The program as text."""
        body = "\n".join(map(str, [*self.lines, *self.training]))
        setup = "\n".join(self.setup)
        state = ", ".join(name for name in LEAVES if re.search(rf"\b{name}\b", body)) or "x"
        return (
            f"D = np.{self.dtype}\ntg.manual_seed(1)\nnoise = np.random.default_rng(1)\n"
            f"numbers = lambda *shape: np.array(noise.normal(size=shape), D)\n{setup}\n"
            f"def f(x, s, o):\n{body}\n    return [{', '.join(self.results)}]\n"
            f"{self.args}\nstate = lambda: [{state}]\n"
        )

    @property
    def change(self):
        """What changes between calls, as text."""
        first, second = (
            "".join(f"    {line}\n" for part in c for line in part.split("\n")) or "    pass\n" for c in self.changes
        )
        return f"if k == 1:\n{first}else:\n{second}"


def program(seed, without=frozenset()):
    """The program of a seed; `without` are kinds of state, see `STATE`, and changes that it is to do without."""
    r = random.Random(seed)
    number = lambda: f"{r.choice([0.25, 0.5, 0.75, 1.25, 1.5, -0.5, 2.0])}"  # noqa: E731
    fill = lambda text: re.sub(r"\b[AB]\b", lambda m: number().lstrip("-" if m[0] == "B" else ""), text)  # noqa: E731
    dtype = r.choice(DTYPES)
    state = r.sample([s for s in STATE if s not in without], r.randint(1, 4))
    leaves = r.sample(list(LEAVES), r.randint(1, 4))
    setup = [fill(NET.strip())]
    setup += [
        f"{name} = tg.parameter(numbers{shape}, name='{name}', dtype=D)"
        for name, shape in ((n, LEAVES[n]) for n in leaves)
    ]
    setup += [fill(line) for s in state for line in STATE[s][0]]
    possible = [c for s in state for c in STATE[s][2]] + NET_CHANGES
    possible += [c.format(name, LEAVES[name]) for name in leaves for c in LEAF_CHANGES]
    pool = [Line("x", "", ("n", 3)), *(Line(name, "", LEAVES[name]) for name in leaves)]
    lines = []

    def add(text, shape, *of):
        lines.append(Line(f"v{len(lines)}", fill(text), shape, tuple(p.name for p in of if p.shape == shape)))
        pool.append(lines[-1])

    for s in state:
        p = r.choice(pool)
        if s in ("array", "argument that is an array"):  # of shape (3,)
            p = pool[0]
        add(f"{p.name} * {STATE[s][1]}", p.shape, p)
    for _ in range(r.randint(2, 9)):
        p, q = r.choice(pool), r.choice(pool)
        _line(r, p, q, add)
    r.shuffle(pool)
    ends = [p for p in pool if p in lines][:4]
    training = []
    kind = r.choice(["none", "grad", "optimiser", "by hand", "backward"])
    if kind != "none":
        terms = " + ".join(f"tg.mean(tg.tanh({e.name}))" for e in ends)
        training.append(f"    loss = {terms} + {' + '.join(f'tg.mean({name} * {name})' for name in leaves)}")
    names = ", ".join(leaves)
    if kind == "grad":
        training.append(f"    g = tg.grad(loss, [{names}])")
    elif kind == "optimiser":
        chosen = r.choice(list(OPTIMISERS))
        setup.append(f"opt = {fill(chosen.format(names))}")
        possible += OPTIMISERS[chosen] + OPT_CHANGES
        training += ["    opt.zero_grad()", "    loss.backward()", "    opt.step()"]
    elif kind == "by hand":
        training += ["    loss.backward()", f"    for p in [{names}]:", "        if p.grad is not None:"]
        training += [f"            p.assign_(p - {number()} * 0.1 * p.grad)", "            p.grad = None"]
    elif kind == "backward":
        training.append("    loss.backward()")
    if kind in ("none", "by hand") and (fits := [(a, e) for a in leaves for e in ends if e.shape == LEAVES[a]]):
        name, e = r.choice(fits)
        training.append(f"    {name}.assign_(0.9 * {name} + 0.1 * tg.tanh({e.name}))")  # a running average
    results = [e.name for e in ends] + (["*g"] if kind == "grad" else [])
    results += [f"{name}.grad" for name in leaves[:1] if kind == "backward"] + (["loss"] if kind != "none" else [])
    possible = [c for c in possible if c not in without]
    changes = tuple(tuple(fill(c) for c in r.sample(possible, min(len(possible), r.randint(0, 3)))) for _ in range(2))
    return Program(dtype, tuple(setup), tuple(lines), tuple(training), tuple(results), changes, _arguments(r, number))


def _line(r, p, q, add):
    """Add a line that computes with `p`, and with `q` where the shapes fit."""
    kind = r.choice(["same", "same", "two", "two", "matmul", "reduce", "net", "shape", "act"])
    n = len(p.shape)
    if kind == "two" and (shape := _broadcast(p.shape, q.shape)) is not None:
        add(r.choice(TWO).format(p.name, q.name), shape, p, q)
    elif kind == "matmul" and n == len(q.shape) == 2 and p.shape[1] == q.shape[0]:
        add(f"{p.name} @ {q.name}", (p.shape[0], q.shape[1]), p, q)
    elif kind == "matmul" and n == len(q.shape) == 2 and p.shape[0] == q.shape[0]:
        add(f"{p.name}.T @ {q.name}", (p.shape[1], q.shape[1]), p, q)
    elif kind == "net" and n == 2 and p.shape[1] == 3:
        add(f"net({p.name})", p.shape, p)
    elif kind == "reduce" and n:
        how = r.choice(["sum", "mean", "max", "min", "var", "norm", "logsumexp", "prod"])
        axis, keep = r.randrange(n), r.random() < 0.5
        shape = tuple(1 if i == axis else d for i, d in enumerate(p.shape) if keep or i != axis)
        add(f"tg.{how}({p.name}, {axis}, keepdims={keep})", shape, p)
    elif kind == "shape" and n == 2:
        add(*r.choice(_reshaped(p)), p)
    else:
        add(r.choice(SAME_SHAPE).format(p.name), p.shape, p)


def _reshaped(p):
    """What a tensor of two axes may be made into, with the shapes."""
    name, (rows, columns) = p.name, p.shape
    found = [(f"{name}.T", (columns, rows)), (f"{name}[:1]", (1, columns)), (f"{name}[0]", (columns,))]
    found += [(text.format(name), p.shape) for text in ("{0}[::-1]", "tg.softmax({0})", "tg.log_softmax({0})")]
    found += [(f"tg.stack([{name}, {name} * A]).sum(0)", p.shape), (f"{name}[-1, 0]", ())]
    found += [(f"tg.broadcast_to({name}, (2, *{name}.shape))", (2, rows, columns))]
    if "n" not in p.shape:
        found += [(f"{name}.reshape(-1)", (rows * columns,))]
        found += [(f"tg.concatenate([{name}, -{name}], 1)", (rows, 2 * columns))]
    return found


def _broadcast(a, b):
    """The shape of two together, or None where they do not fit."""
    if len(a) < len(b):
        a, b = b, a
    b = (1,) * (len(a) - len(b)) + b
    if all(i == j or 1 in (i, j) for i, j in zip(a, b, strict=True)):
        return tuple(j if i == 1 else i for i, j in zip(a, b, strict=True))
    return None


def _arguments(r, number):
    """A function from the number of the call to arguments; some change at every call, some once, most never."""

    def seldom(always, *others):
        return r.choice([always] * 3 + list(others))

    rows = seldom("4", "3 + n % 2", "1 + n % 3")
    scale = seldom(number(), "1.0 / (1.0 + n)", f"{number()} if n < 3 else {number()}")
    rest = seldom(number(), f"{number()} if n % 4 else {number()}"), seldom("'up'", "'up' if n < 4 else 'down'")
    batch = f"tg.tensor(np.random.default_rng(n).normal(size=({rows}, 3)).astype(D))"
    named = f"{{'s': [{rest[0]}], 'way': {rest[1]}, 'a': np.full(3, {number()} + n, D)}}"
    return f"args = lambda n: ({batch}, {scale}, {named})"


def shrunk(found, still_wrong, tries=200):
    """A smaller program, by leaving out one part after the other as long as `still_wrong` says so of what is left."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(found):
            tries -= 1
            if tries < 0:
                return found
            if still_wrong(candidate):
                found, smaller = candidate, True
                break
    return found


def _smaller(p):
    """Yield the program with one part left out, or a line replaced by one of its operands."""
    for i, c in enumerate(p.changes):
        for j in range(len(c)):
            yield replace(p, changes=tuple(c[:j] + c[j + 1 :] if k == i else d for k, d in enumerate(p.changes)))
    if p.training and not any(name in ("loss", "*g") or name.endswith(".grad") for name in p.results):
        yield replace(p, training=())
    for j in range(len(p.results)):
        if len(p.results) > 1:
            yield replace(p, results=p.results[:j] + p.results[j + 1 :])
    rest = lambda skip: "\n".join([*(x.text for x in p.lines if x is not skip), *p.training, *p.results])  # noqa: E731
    for line in reversed(p.lines):
        if not re.search(rf"\b{line.name}\b", rest(line)):
            yield replace(p, lines=tuple(x for x in p.lines if x is not line))
        for other in line.of:
            if line.text != other:
                yield replace(p, lines=tuple(replace(x, text=other) if x is line else x for x in p.lines))
    for line in p.setup[1:]:
        yield replace(p, setup=tuple(x for x in p.setup if x is not line))
