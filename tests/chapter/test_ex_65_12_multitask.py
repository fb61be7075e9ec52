"""Ex. 65.12: multitask learning (65.154)-(65.164), with labels missing, on the network of Fig. 65.15.

(65.154) the risk over T tasks, (65.155) a softmax pair for each, (65.156a)-(65.156c) the last layer split by tasks,
(65.157) and (65.164) the sensitivities at the output for the listing (65.149), (65.160)-(65.162) label vectors,
(65.163) the risk without the labels that are missing. The first entry of a pair is for an attribute that is present.
"""

import math

import numpy as np
import pytest
from chapter import listings
from chapter.ways import TOLERANCE, WAYS, largest_difference_over_steps

import tinygraph as tg
from tinygraph import losses, metrics, optim
from tinygraph.errors import DataError, ShapeError
from tinygraph.models import fully_connected, multitask

MU, RHO, T, N, B, STEPS = 0.1, 0.01, 2, 30, 6, 20
SIZES = [4, 5, 4, 3, 2 * T]  # three hidden layers
SIGNALS = listings.activations(len(SIZES), "tanh", "linear")  # z_L as they are: (65.155) takes them in pairs
NAN = math.nan
PRINTED = [[1, 0, 1, 0], [0, 1, 1, 0], [NAN, NAN, 1, 0]]  # (65.160), (65.161), (65.162)


def network():
    return multitask(SIZES[1:-1], T, SIZES[0], activation="tanh", init_bias="normal", seed=7, dtype=np.float64)


def samples(rng, missing=0.3):
    """Feature vectors and aggregate label vectors (N, 2 T), some pairs missing."""
    present = rng.integers(0, 2, (N, T)).astype(np.float64)
    present[rng.random((N, T)) < missing] = NAN
    return rng.normal(size=(N, SIZES[0])), np.stack([present, 1 - present], axis=2).reshape(N, 2 * T)


FORMS = {  # of aggregate label vectors (B, 2 T)
    "label vectors": lambda Y: Y,
    "pairs": lambda Y: Y.reshape(-1, T, 2),
    "one label a task": lambda Y: Y[:, ::2],
}


def pairs_of(z):
    """(65.155): gamma-hat_t for every task."""
    outputs = []
    for t in range(len(z) // 2):
        e = [math.exp(z[2 * t]), math.exp(z[2 * t + 1])]
        outputs.append([e[0] / (e[0] + e[1]), e[1] / (e[0] + e[1])])
    return outputs


def is_valid(pair):
    return all(v in (0, 1) for v in pair)


def boundary(gamma_hat, gamma, z):
    """The sensitivities delta_L of (65.164), those of (65.157) where no label is missing."""
    delta = []
    for t, (first, second) in enumerate(pairs_of(z)):
        pair = gamma[2 * t : 2 * t + 2]
        delta += [first - pair[0], second - pair[1]] if is_valid(pair) else [0.0, 0.0]
    return delta


def risk(H, gamma, W, theta, rho):
    """The multitask risk (65.163), which is (65.154) where no label is missing."""
    P = sum(rho * w**2 for W_l in W.values() for row in W_l for w in row)
    for h, labels in zip(H, gamma, strict=True):
        _, z, _, _ = listings.forward(h, W, theta, SIGNALS)
        for t, (first, _) in enumerate(pairs_of(z)):
            pair = labels[2 * t : 2 * t + 2]
            if is_valid(pair):
                P -= (pair[0] * math.log(first) + (1 - pair[0]) * math.log(1 - first)) / len(H)
    return P


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("form", FORMS)
def test_twenty_steps(way, missing, form, rng):
    net, (H, gamma) = network(), samples(rng, missing)
    rows = [rng.integers(0, N, B) for _ in range(STEPS)]

    def listing(x, y, W, theta):
        vectors = np.stack([y, 1 - np.array(y)], axis=2) if form == "one label a task" else np.array(y)
        return listings.minibatch_step(x, vectors.reshape(B, -1).tolist(), W, theta, MU, RHO, SIGNALS, boundary)

    pairs, optimizer = [(H[r], FORMS[form](gamma[r])) for r in rows], optim.SGD(net.parameters(), MU)
    loss = losses.multitask_cross_entropy
    assert largest_difference_over_steps(way, net, loss, optimizer, pairs, listing, RHO) <= TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_fit_on_arrays_walks_the_same_way(form, rng):
    net, (H, gamma) = network(), samples(rng)
    W, theta = listings.parameters(net)
    for x, y in tg.data.Batches(H, gamma, B, seed=3, allow_missing=True):
        W, theta = listings.minibatch_step(x.tolist(), y.tolist(), W, theta, MU, RHO, SIGNALS, boundary)
    optimizer, loss = optim.SGD(net.parameters(), MU), losses.multitask_cross_entropy
    tg.fit(net, loss, (H, FORMS[form](gamma)), optimizer, 1, B, l2=RHO, seed=3, progress=False)
    assert listings.largest_difference(listings.parameters(net), (W, theta)) <= TOLERANCE


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_risk(form, missing, rng):
    net, (H, gamma) = network(), samples(rng, missing)
    W, theta = listings.parameters(net)
    expected = risk(H.tolist(), gamma.tolist(), W, theta, RHO)
    for z in (net(H), net(H).reshape(N, 2 * T)):
        ours = losses.multitask_cross_entropy(z, FORMS[form](gamma)) + losses.l2(net, RHO)
        assert ours.item() == pytest.approx(expected, rel=1e-12)


def test_the_last_layer_is_split_by_tasks_65_156(rng):
    net, h = network(), rng.normal(size=SIZES[0])
    W, theta = listings.parameters(net)
    _, _, y, _ = listings.forward(h.tolist(), W, theta, SIGNALS)
    predicted, signals = net.predict(h[None]).numpy()[0], net(h[None]).numpy()[0]
    for t in range(T):
        W_4t, theta_4t = [row[2 * t : 2 * t + 2] for row in W[4]], theta[4][2 * t : 2 * t + 2]
        z_5t = listings.affine(W_4t, y[4], theta_4t)
        np.testing.assert_allclose(signals[t], z_5t, rtol=1e-12)
        np.testing.assert_allclose(predicted[t], listings.softmax(z_5t), rtol=1e-12)


def test_the_printed_label_vectors(rng):
    """A cat and a dog; a dog only; a dog, and nobody looked for cats."""
    z = rng.normal(size=(3, 4))
    g = [[first for first, _ in pairs_of(row)] for row in z.tolist()]
    expected = -(
        math.log(g[0][0]) + math.log(g[0][1])
        + math.log(1 - g[1][0]) + math.log(g[1][1])
        + math.log(g[2][1])
    ) / 3  # fmt: skip
    labels = np.array([[1, 1], [0, 1], [NAN, 1]])
    for target in (np.array(PRINTED), np.array(PRINTED).reshape(3, 2, 2), labels, tg.tensor(np.array(PRINTED))):
        assert losses.multitask_cross_entropy(tg.tensor(z), target).item() == pytest.approx(expected, rel=1e-12)


def test_decisions_are_label_vectors(rng):
    net, (H, _) = network(), samples(rng)
    W, theta = listings.parameters(net)
    gamma = []
    for h in H.tolist():
        outputs = pairs_of(listings.forward(h, W, theta, SIGNALS)[1])
        gamma.append([[1.0, 0.0] if first >= second else [0.0, 1.0] for first, second in outputs])
    decided = net.decide(H).numpy()
    assert decided.tolist() == gamma
    assert metrics.multitask_error(decided, decided.reshape(N, 2 * T)) == 0


@pytest.mark.parametrize("form", FORMS)
def test_fit_and_evaluate_count_wrong_decisions_where_labels_are_there(form, rng):
    net, (H, gamma) = network(), samples(rng)
    target = FORMS[form](gamma)
    decided, wrong, known = net.decide(H).numpy().reshape(N, 2 * T).tolist(), 0, 0
    for ours, theirs in zip(decided, gamma.tolist(), strict=True):
        for t in range(T):
            if is_valid(theirs[2 * t : 2 * t + 2]):
                known += 1
                wrong += ours[2 * t] != theirs[2 * t]
    loss, error = tg.evaluate(net, losses.multitask_cross_entropy, (H, target), batch_size=7)
    assert 0 < wrong < known < N * T
    assert error == wrong / known
    assert loss == pytest.approx(losses.multitask_cross_entropy(net(H), target).item(), rel=1e-12)
    optimizer = optim.SGD(net.parameters(), 1e-9)
    history = tg.fit(
        net, losses.multitask_cross_entropy, (H, target), optimizer, 1, N, validation=(H, target), progress=False
    )
    assert history.errors == history["validation_error"] == [error]
    assert metrics.multitask_error(net.decide(H), target) == error


def test_a_single_output_for_each_task(rng):
    """gamma-hat_t(1) alone, the sigmoid of z_t(1) - z_t(2), with labels (N, T): the same risk."""
    net, (H, gamma) = network(), samples(rng)
    one = fully_connected([*SIZES[:-1], T], "tanh", "sigmoid", dtype=np.float64)
    for l, layer in enumerate([*net.shared, net.pairs], 1):
        W, theta = layer.W.numpy(), layer.theta.numpy()
        if l == len(SIZES) - 1:
            W, theta = W[:, 0::2] - W[:, 1::2], theta[0::2] - theta[1::2]
        getattr(one, f"layer{l}").W.assign_(W)
        getattr(one, f"layer{l}").theta.assign_(theta)
    np.testing.assert_allclose(one.predict(H).numpy(), net.predict(H).numpy()[:, :, 0], rtol=1e-11)
    ours = losses.binary_cross_entropy(one(H), gamma[:, ::2])
    assert ours.item() == pytest.approx(losses.multitask_cross_entropy(net(H), gamma).item(), rel=1e-12)


def test_a_single_output_and_missing_labels(rng):
    z, t = rng.normal(size=(6, 4)), rng.integers(0, 2, (6, 4)).astype(float)
    t[1, 2] = t[4, 0] = NAN
    expected, slope = 0.0, np.zeros((6, 4))
    for b in range(6):
        for j in range(4):
            if not math.isnan(t[b, j]):
                s = 1 / (1 + math.exp(-z[b, j]))
                expected += -(t[b, j] * math.log(s) + (1 - t[b, j]) * math.log(1 - s)) / 6
                slope[b, j] = (s - t[b, j]) / 6
    valid = (~np.isnan(t)).astype(float)
    for arguments in ((t,), (np.nan_to_num(t), valid)):
        x = tg.tensor(z, requires_grad=True)
        loss = losses.binary_cross_entropy(x, *arguments)
        assert loss.item() == pytest.approx(expected, rel=1e-12)
        loss.backward()
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("target", [np.full((2, 2), NAN), np.full((2, 4), NAN)], ids=["labels", "vectors"])
@pytest.mark.parametrize("loss", [losses.multitask_cross_entropy, losses.binary_cross_entropy])
def test_all_labels_missing_is_a_loss_of_zero(loss, target):
    x = tg.tensor(np.ones((2, 4 if loss is losses.multitask_cross_entropy else target.shape[1])), requires_grad=True)
    value = loss(x, target)
    value.backward()
    assert value.item() == 0
    assert not x.grad.numpy().any()


def test_on_a_device_a_pair_missing_by_half_is_missing(rng):
    """Where nothing is read on the host, an indicator of valid entries decides, as printed."""
    z = tg.tensor(rng.normal(size=(2, 4)))
    half = tg.tensor(np.array([[1, NAN, 1, 0], [NAN, 0, 0, 1]]))
    whole = np.array([[NAN, NAN, 1, 0], [NAN, NAN, 0, 1]])
    assert losses.multitask_cross_entropy(z, half).item() == losses.multitask_cross_entropy(z, whole).item()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ([[1, 0, 1, 1]], r"must add up to 1, or be NaN and NaN where missing; row 0 has \[1.0, 1.0\] for task 1"),
        ([[0, 0, 1, 0]], r"row 0 has \[0.0, 0.0\] for task 0"),
        ([[1, 0, NAN, 0]], r"row 0 has \[nan, 0.0\] for task 1"),
        ([[[1, 0], [1, NAN]]], r"row 0 has \[1.0, nan\] for task 1"),
        ([[2, -1, 1, 0]], r"labels must be from 0 to 1, or NaN where missing; there is 2.0 at \[0, 0\]"),
        ([[1, 3]], r"labels must be from 0 to 1, or NaN where missing; there is 3.0 at \[0, 1\]"),
    ],
)
def test_labels_that_say_nothing_are_told_in_one_line(target, text, rng):
    target = np.array(target, np.float64)
    with pytest.raises(DataError, match=f"multitask_cross_entropy: .*{text}") as caught:
        losses.multitask_cross_entropy(tg.tensor(np.zeros((1, 4))), target)
    assert "\n" not in str(caught.value)
    net, x = network(), np.zeros((1, 4))
    optimizer, good = optim.SGD(net.parameters(), MU), (x, np.zeros((1, T)))
    for sets, what in (({"train_set": (x, target)}, "train_set"), ({"validation": (x, target)}, "validation")):
        with pytest.raises(DataError, match=f"^{what}: Y: .*{text}") as caught:
            tg.fit(net, losses.multitask_cross_entropy, optimizer=optimizer, **{"train_set": good} | sets)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("logits", "target", "text"),
    [
        ((2, 4), (2, 3), r"for logits \(2, 4\) expected labels \(2, 2\), one a task, or pairs .*, got \(2, 3\)"),
        ((2, 2, 2), (3, 2), r"expected labels \(2, 2\), .* of shape \(2, 4\) or \(2, 2, 2\), got \(3, 2\)"),
        ((2, 3), (2, 3), r"expected logits \(B, 2 T\) or \(B, T, 2\), got \(2, 3\)"),
        ((2, 2, 3), (2, 2), r"expected logits \(B, 2 T\) or \(B, T, 2\), got \(2, 2, 3\)"),
        ((4,), (2,), r"expected logits \(B, 2 T\) or \(B, T, 2\), got \(4,\)"),
        ((0, 4), (0, 2), "the batch is empty"),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits, target, text):
    with pytest.raises(ShapeError, match=text):
        losses.multitask_cross_entropy(tg.tensor(np.zeros(logits)), np.zeros(target))


def test_question_marks_are_refused():
    net, target = network(), np.array([["?", "?", "1", "0"]])
    with pytest.raises(DataError, match="train_set: Y: expected numbers, NaN for a missing label, got dtype <U1"):
        tg.fit(net, losses.multitask_cross_entropy, (np.zeros((1, 4)), target), optim.SGD(net.parameters(), MU))


def test_fit_names_labels_of_another_width(rng):
    net = network()
    with pytest.raises(
        DataError, match=r"^train_set: Y: expected labels of shape \(3, 2\), .*, got shape \(3, 5\)"
    ) as e:
        tg.fit(
            net, losses.multitask_cross_entropy, (np.zeros((3, 4)), np.zeros((3, 5))), optim.SGD(net.parameters(), 1)
        )
    assert "\n" not in str(e.value)
