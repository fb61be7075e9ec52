"""Siamese networks: one shared branch, heads of one's own, cosines, pairs of digits.

Problems 65.22-65.24 in plain loops are in `tests/chapter`.
"""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, nn, optim
from tinygraph.errors import ArgumentError, DataError, ShapeError
from tinygraph.models import Siamese, siamese

HEADS = ["cosine", "absolute_difference", "relation"]


# What the problems have each head learn: the loss, and the label of pairs of different classes.
LEARNING = {
    "cosine": (losses.squared_error, -1.0),
    "absolute_difference": (losses.binary_cross_entropy, 0.0),
    "relation": (losses.squared_error, 0.0),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_tensor_of_pairs_is_two_batches(rng, head):
    net = siamese([4, 5, 3], head, seed=0, dtype=np.float64)
    h1, h2 = rng.normal(size=(2, 6, 4))
    np.testing.assert_array_equal(net(np.stack([h1, h2], axis=1)).numpy(), net(h1, h2).numpy())


@pytest.mark.parametrize("head", HEADS)
def test_every_head_passes_the_gradient_check(rng, head):
    net = siamese([4, 5, 3], head, activation="tanh", seed=0, dtype=np.float64)
    loss, negative_label = LEARNING[head]
    tg.gradcheck(net, rng.normal(size=(6, 2, 4)), np.array([1, negative_label] * 3), loss)


@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_of_the_branch_is_the_sum_of_both_calls(rng, head):
    net = siamese([4, 5, 3], head, seed=0, dtype=np.float64)
    h1, h2 = rng.normal(size=(2, 6, 4))
    weights = rng.normal(size=6)
    (net(h1, h2) * weights).sum().backward()
    total = {name: t.grad.numpy() for name, t in net.branch.named_parameters()}
    parts = []
    for cut in (0, 1):  # the call that is cut off passes nothing back
        for t in net.parameters():
            t.grad = None
        u, v = net.branch(h1), net.branch(h2)
        (net.head(*[(y.detach() if k == cut else y) for k, y in enumerate((u, v))]) * weights).sum().backward()
        parts.append({name: t.grad.numpy() for name, t in net.branch.named_parameters()})
    for name, both in total.items():
        np.testing.assert_allclose(both, parts[0][name] + parts[1][name], rtol=1e-10, atol=1e-13)
        assert np.abs(parts[0][name]).max() > 0
        assert np.abs(parts[1][name]).max() > 0


def test_the_branch_is_held_once_and_its_two_calls_are_told_apart(rng):
    net = siamese([4, 5, 3], "absolute_difference", seed=0)
    assert [name for name, _ in net.branch.named_parameters()] == ["0.W", "0.theta", "1.W", "1.theta"]
    assert len(net.parameters()) == 6
    names = list(net.activations(np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)))
    assert {"branch.z2#1", "branch.z2#2", "branch.z3#1", "branch.z3#2"} <= set(names)


class Distance(nn.Module):
    """A head of one's own: minus the squared distance of the embeddings."""

    output = "linear"

    def forward(self, u, v):
        return -((u - v) ** 2).sum(axis=1)


def test_a_head_of_ones_own_says_how_its_number_is_read(rng):
    branch = nn.Sequential(nn.Dense(4, 3, "tanh", seed=0, dtype=np.float64))
    net, (h1, h2) = Siamese(branch, Distance()), rng.normal(size=(2, 6, 4))
    expected = [-((u - v) ** 2).sum() for u, v in zip(branch(h1).numpy(), branch(h2).numpy(), strict=True)]
    np.testing.assert_allclose(net.predict(h1, h2).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(net.decide(h1, h2).numpy(), expected, rtol=1e-12)


def test_cosines_reach_both_ends_and_are_0_with_slope_0_at_a_vector_of_zeros():
    u = tg.tensor(np.array([[3.0, 4.0], [1.0, 2.0], [0.0, 0.0], [1.0, 0.0]]), requires_grad=True)
    v = tg.tensor(np.array([[6.0, 8.0], [-2.0, -4.0], [1.0, 1.0], [0.0, 0.0]]), requires_grad=True)
    cosine = tg.cosine_similarity(u, v)
    np.testing.assert_allclose(cosine.numpy(), [1, -1, 0, 0], atol=1e-15)
    cosine.sum().backward()
    np.testing.assert_array_equal(u.grad.numpy()[2:], 0)
    np.testing.assert_array_equal(v.grad.numpy()[2:], 0)


def test_cosines_of_huge_and_tiny_vectors_are_finite():
    u, v = np.float32([[3e30, 4e30], [3e-30, 4e-30]]), np.float32([[3e30, -4e30], [4e-30, 3e-30]])
    np.testing.assert_allclose(tg.cosine_similarity(u, v).numpy(), [-7 / 25, 24 / 25], rtol=1e-5)


def test_cosines_against_pytorch(rng):
    torch = pytest.importorskip("torch")
    a, b = rng.normal(size=(2, 3, 5, 4))
    u, v = (tg.tensor(x, requires_grad=True) for x in (a, b))
    p, q = (torch.tensor(x, requires_grad=True) for x in (a, b))
    ours, theirs = tg.cosine_similarity(u, v, axis=1), torch.nn.functional.cosine_similarity(p, q, dim=1)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)
    ours.sum().backward()
    theirs.sum().backward()
    np.testing.assert_allclose(u.grad.numpy(), p.grad.numpy(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(v.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.host
@pytest.mark.parametrize("head", HEADS)
def test_new_images_of_learned_digits_are_verified(head):
    digits = data.load("digits")
    loss, negative_label = LEARNING[head]
    train = data.balanced_pairs(*digits.train, 8000, seed=0, negative_label=negative_label)
    pairs, same = data.balanced_pairs(*digits.test, 1000, seed=1)
    net = siamese([64, 64, 32], head, seed=0)
    tg.fit(net, loss, train, optim.Adam(net.parameters(), 1e-3), epochs=12, progress=False)
    threshold = np.median(net(train[0]).numpy())  # half of the pairs learned from are of one class
    assert ((net(pairs).numpy() > threshold) == same).mean() > 0.9


@pytest.mark.host
def test_digits_that_were_never_learned_are_verified_above_chance():
    digits = data.load("digits")
    held_out = (0, 4, 6)
    seen, unseen = ~np.isin(digits.labels_train, held_out), np.isin(digits.labels_test, held_out)
    train = data.balanced_pairs(digits.train[0][seen], digits.labels_train[seen], 4000, seed=0)
    pairs, same = data.balanced_pairs(digits.test[0][unseen], digits.labels_test[unseen], 1000, seed=1)
    net = siamese([64, 64, 32], "relation", seed=0)
    tg.fit(net, losses.binary_cross_entropy, train, optim.Adam(net.parameters(), 1e-3), epochs=10, progress=False)
    assert (net.decide(pairs).numpy() == same).mean() > 0.6  # guessing: 0.5


def test_half_of_the_pairs_are_of_one_class_and_classes_come_evenly(rng):
    labels = np.repeat([0, 1, 2], [1, 20, 200])  # class 0 has no second sample
    X = np.stack([labels, np.arange(len(labels))], axis=1).astype(float)
    pairs, same = data.balanced_pairs(X, labels, 3001, seed=3)
    assert pairs.shape == (3001, 2, 2)
    assert same.sum() == 1501
    np.testing.assert_array_equal(pairs[:, 0, 0] == pairs[:, 1, 0], same == 1)
    assert (pairs[:, 0, 1] != pairs[:, 1, 1]).all()  # never a sample with itself
    assert abs((pairs[same == 1][:, 0, 0] == 1).mean() - 0.5) < 0.06
    assert abs((pairs[same == 0][:, 0, 0] == 0).mean() - 1 / 3) < 0.06
    assert 0.4 < same[:400].mean() < 0.6  # in random order


def test_pairs_are_repeatable_and_take_basis_vectors_and_signs():
    digits = data.load("digits")
    a, same = data.balanced_pairs(*digits.train, 50, seed=1, negative_label=-1)
    b, _ = data.balanced_pairs(digits.train[0], digits.labels_train, 50, seed=1)
    c, _ = data.balanced_pairs(*digits.train, 50, seed=2)
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    assert set(same) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: siamese([4, 3], "cosin"), ArgumentError, "head 'cosin' is not known; .* did you mean 'cosine'"),
        (lambda: siamese([4]), ArgumentError, r"at least input and embedding, got \[4\]"),
        (lambda: siamese([4, 0]), ArgumentError, "at least 1, got 0"),
        (lambda: siamese([4, 3])(np.zeros((2, 4), np.float32)), ShapeError, r"or pairs \(B, 2, n\), got .*\(2, 4\)"),
        (lambda: tg.cosine_similarity([1.0, 2.0], [1.0]), ShapeError, "vectors of one length along axis -1"),
        (lambda: data.balanced_pairs(np.zeros((3, 2)), [1, 1, 1], 4), DataError, "at least 2 classes, .* have 1"),
        (lambda: data.balanced_pairs(np.zeros((3, 2)), [0, 1, 2], 4), DataError, "a class with at least 2 samples"),
        (lambda: data.balanced_pairs(np.zeros((3, 2)), [0, 1], 4), DataError, "one row a sample"),
        (lambda: data.balanced_pairs(np.zeros((3, 2)), [0, 1, -1], 4), DataError, "-1 in row 2 is below 0"),
        (lambda: data.balanced_pairs(np.zeros((2, 2)), [0, 1], 0), ArgumentError, "n_pairs must be a whole number"),
        (lambda: data.balanced_pairs(np.zeros((2, 2)), [0, 1], 2, negative_label=2), ArgumentError, "0 or -1, got 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_in_one_line(make, error, text):
    with pytest.raises(error, match=text) as caught:
        make()
    assert "\n" not in str(caught.value)
