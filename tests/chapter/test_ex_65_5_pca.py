"""Ex. 65.5: linear autoencoders and PCA, (65.103)-(65.109).

The covariance (65.103), its eigenvalues (65.104), encoder and decoder (65.105), the matrix of features (65.106), the
best approximation of a rank (65.107) by the singular values (65.108), and that PCA is this approximation (65.109).
Eigenvectors are found by Jacobi's rotations, in plain loops.
"""

import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, losses, optim
from tinygraph.errors import ArgumentError, DataError
from tinygraph.models import autoencoder

pytestmark = pytest.mark.host
N, M, K = 30, 5, 2


def features(rng):
    """Correlated features, of different means and deviations."""
    return rng.normal(size=(N, M)) @ rng.normal(size=(M, M)) * [1.0, 5.0, 0.2, 1.0, 3.0] + [0.0, 9.0, -4.0, 1.0, 2.0]


def standardized(H):
    """Each entry less its mean over the samples, over its deviation, of squares divided by N - 1."""
    result = [list(h) for h in H]
    for j in range(len(H[0])):
        mean = sum(h[j] for h in H) / len(H)
        deviation = math.sqrt(sum((h[j] - mean) ** 2 for h in H) / (len(H) - 1))
        for h in result:
            h[j] = (h[j] - mean) / deviation
    return result


def covariance(H):
    """(65.103): the sum of h_n h_n^T over N - 1."""
    columns = range(len(H[0]))
    return [[sum(h[i] * h[j] for h in H) / (len(H) - 1) for j in columns] for i in columns]


def eigen(R, sweeps=30):
    """Eigenvalues in descending order (65.104), and the orthogonal U with an eigenvector in each column."""
    n = len(R)
    A, U = [list(row) for row in R], [[float(i == j) for j in range(n)] for i in range(n)]
    for _ in range(sweeps):
        for p in range(n):
            for q in range(p + 1, n):
                if abs(A[p][q]) < 1e-300:
                    continue
                angle = 0.5 * math.atan2(2 * A[p][q], A[p][p] - A[q][q])
                c, s = math.cos(angle), math.sin(angle)
                for B in (A, U):  # columns p and q, rotated
                    for row in B:
                        row[p], row[q] = c * row[p] + s * row[q], c * row[q] - s * row[p]
                for k in range(n):  # rows of A
                    A[p][k], A[q][k] = c * A[p][k] + s * A[q][k], c * A[q][k] - s * A[p][k]
    order = sorted(range(n), key=lambda j: -A[j][j])
    return [A[j][j] for j in order], [[row[j] for j in order] for row in U]


def encoded(U1, h):
    """(65.105): h' = U_1^T h."""
    return [sum(U1[i][j] * h[i] for i in range(len(h))) for j in range(len(U1[0]))]


def decoded(U1, code):
    """(65.105): h-hat = U_1 h'."""
    return [sum(row[j] * code[j] for j in range(len(code))) for row in U1]


@pytest.fixture
def by_hand(rng):
    """The preprocessed features as lists, all eigenvalues, and U_1 with the signs that the library chooses."""
    H = standardized(features(rng).tolist())
    values, U = eigen(covariance(H))
    signs = [math.copysign(1.0, max((row[j] for row in U), key=abs)) for j in range(K)]
    return H, values, [[signs[j] * row[j] for j in range(K)] for row in U]


def test_standardisation_by_plain_loops(rng):
    H = features(rng)
    scaling = data.standardize(H)
    np.testing.assert_allclose(scaling(H), standardized(H.tolist()), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaling.inverse(scaling(H)), H, rtol=1e-12)
    other = rng.normal(size=(4, M))
    mean, deviation = H.mean(axis=0), H.std(axis=0, ddof=1)
    np.testing.assert_allclose(scaling(other), (other - mean) / deviation, rtol=1e-12)


def test_a_constant_entry_becomes_0():
    H = np.full((7, 2), 0.1)
    H[:, 1] = range(7)
    assert data.standardize(H)(H)[:, 0].tolist() == [0.0] * 7
    assert data.center(H)(H)[:, 0].tolist() == [0.0] * 7


def test_covariance_eigenvalues_and_directions(by_hand):
    H, values, U1 = by_hand
    components = data.pca(H, K)
    np.testing.assert_allclose(components.eigenvalues, values, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(components.U1, U1, rtol=1e-10, atol=1e-10)
    assert (np.diff(components.eigenvalues) <= 0).all()
    assert components.eigenvalues.sum() == pytest.approx(M)  # variances of standardised features
    np.testing.assert_allclose(components.U1.T @ components.U1, np.eye(K), atol=1e-12)


def test_encoder_and_decoder(by_hand):
    H, _, U1 = by_hand
    components = data.pca(H, K)
    codes = [encoded(U1, h) for h in H]
    np.testing.assert_allclose(components.encode(H), codes, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(components.decode(codes), [decoded(U1, code) for code in codes], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tied", [False, True])
def test_the_linear_autoencoder_with_w1_u1_and_w2_u1_transposed_is_pca(tied, by_hand):
    H, _, U1 = by_hand
    net = autoencoder([M, K, M], tied, activation="identity", output="linear", seed=0, dtype=np.float64)
    weights = [p for p in net.parameters() if p.role == "weight"]
    for W, value in zip(weights, (data.pca(H, K).U1, data.pca(H, K).U1.T), strict=False):
        W.assign_(value)
    H = np.array(H)
    np.testing.assert_allclose(net.encode(H).numpy(), [encoded(U1, h) for h in H.tolist()], rtol=1e-9, atol=1e-10)
    expected = [decoded(U1, encoded(U1, h)) for h in H.tolist()]
    np.testing.assert_allclose(net.predict(H).numpy(), expected, rtol=1e-9, atol=1e-10)


def test_pca_is_the_best_approximation_of_its_rank(by_hand, rng):
    """(65.107), (65.109): no matrix of rank K is nearer to H than H U_1 U_1^T; the rest is what the others carry."""
    H, values, _ = by_hand
    components, H = data.pca(H, K), np.array(H)
    nearest = components.decode(components.encode(H))
    assert np.linalg.matrix_rank(nearest) == K
    left = ((H - nearest) ** 2).sum()
    assert left == pytest.approx((N - 1) * sum(values[K:]), rel=1e-10)
    codes, U1 = components.encode(H), components.U1
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            other = (codes + size * rng.normal(size=codes.shape)) @ (U1 + size * rng.normal(size=U1.shape)).T
            assert ((H - other) ** 2).sum() > left


def test_the_singular_values_give_the_same(by_hand):
    """(65.108): H = V [Sigma; 0] U^T, and U_1 its leading columns."""
    H, values, U1 = by_hand
    V, sigma, Ut = np.linalg.svd(np.array(H))
    np.testing.assert_allclose(sigma**2 / (N - 1), values, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(V[:, :M] * sigma @ Ut, H, atol=1e-12)
    np.testing.assert_allclose(np.abs(Ut[:K].T), np.abs(U1), rtol=1e-9, atol=1e-10)
    components = data.pca(H, K)
    np.testing.assert_allclose(components.decode(components.encode(H)), np.array(H) @ Ut[:K].T @ Ut[:K], atol=1e-10)


def test_a_trained_linear_autoencoder_reaches_the_optimum_and_no_less(by_hand):
    H, values, _ = by_hand
    best, H = (N - 1) / N * sum(values[K:]), np.array(H)
    net = autoencoder([M, K, M], activation="identity", output="linear", seed=0, dtype=np.float64)
    tg.fit(net, losses.squared_error, (H, H), optim.Adam(net.parameters(), 0.02), 800, N, progress=False)
    assert best * (1 - 1e-9) <= tg.evaluate(net, losses.squared_error, (H, H))[0] <= best * (1 + 1e-4)


def test_features_that_are_not_centred_can_be(rng):
    H = features(rng)
    components, centred = data.pca(H, K, center=True), H - H.mean(axis=0)
    expected = data.pca(centred, K)
    np.testing.assert_allclose(components.eigenvalues, expected.eigenvalues, rtol=1e-9)
    np.testing.assert_allclose(components.encode(H), expected.encode(centred), rtol=1e-9, atol=1e-9)
    back = components.decode(components.encode(H))
    np.testing.assert_allclose(back, expected.decode(expected.encode(centred)) + H.mean(axis=0), rtol=1e-9)
    assert data.pca(H, M, center=True).decode(data.pca(H, M, center=True).encode(H)) == pytest.approx(H, rel=1e-9)


def test_numbers_keep_their_floating_dtype(rng):
    H = features(rng).astype(np.float32)
    components, scaling = data.pca(H, K), data.standardize(H)
    assert components.encode(H).dtype == components.decode(components.encode(H)).dtype == np.float32
    assert scaling(H).dtype == scaling.inverse(H).dtype == np.float32
    assert scaling(np.ones((2, M), int)).dtype == np.float64


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda H: data.pca(H, M + 1), ArgumentError, "pca: k is 6, but there are 5 features"),
        (lambda H: data.pca(H, 0), ArgumentError, "pca: k must be a whole number of at least 1, got 0"),
        (lambda H: data.pca(H[:1], 1), DataError, "pca: a covariance needs at least 2 rows, got 1"),
        (lambda H: data.pca(H[0], 1), DataError, r"pca: expected one feature vector a row, shape \(N, M\), got \(5,\)"),
        (lambda H: data.pca(H, 1).encode(H[:, :2]), DataError, r"PCA.encode: .*shape \(n, 5\), got \(30, 2\)"),
        (lambda H: data.pca(H, 1).decode(H), DataError, r"PCA.decode: .*shape \(n, 1\), got \(30, 5\)"),
        (lambda H: data.standardize(H[:1]), DataError, "standardize: a deviation needs at least 2 rows, got 1"),
        (
            lambda H: data.standardize((H, H[:, :2])),
            DataError,
            "standardize: expected one array, got a tuple of unequal",
        ),
        (lambda H: data.standardize(H * np.nan), DataError, r"standardize: nan at \[0, 0\]"),
        (lambda H: data.standardize(H)(H[:, :2]), DataError, r"Scaling: .*shape \(n, 5\), got \(30, 2\)"),
        (lambda H: data.center(H[:0]), DataError, "center: expected one feature vector a row"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(function, error, text, rng):
    with pytest.raises(error, match=text) as caught:
        function(features(rng))
    assert "\n" not in str(caught.value)
