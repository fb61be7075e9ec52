"""Networks as estimators of scikit-learn."""

import builtins
import importlib
import pickle
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, nn
from tinygraph.errors import ArgumentError, DataError

pytestmark = pytest.mark.host
sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from tinygraph.sklearn import NetClassifier, NetRegressor  # noqa: E402

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
WORDS = np.where(X[:, 0] > 0, "warm", "cold")


@parametrize_with_checks([NetClassifier(), NetRegressor()])
@pytest.mark.filterwarnings("ignore")  # some checks warn on purpose
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_a_classifier_answers_in_the_labels_own_words():
    net = NetClassifier(hidden=[8], epochs=60, lr=1e-2).fit(X, WORDS)
    assert set(net.predict(X)) == {"warm", "cold"}
    assert net.score(X, WORDS) > 0.95
    np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert net.history_["error"][-1] < 0.1
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).predict(X), net.predict(X))


def test_equal_seeds_give_equal_bits_and_leave_the_stream_of_masks_alone():
    def dropped(n_in, n_out):
        return tg.models.fully_connected([n_in, 16, n_out], dropout=[0.0, 0.5])

    tg.manual_seed(3)
    draws = tg.bernoulli(0.5, (8,)).numpy()
    tg.manual_seed(3)
    one, other = (NetClassifier(dropped, epochs=5, random_state=s).fit(X, WORDS) for s in (7, 7))
    np.testing.assert_array_equal(tg.bernoulli(0.5, (8,)).numpy(), draws)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    another = NetClassifier(dropped, epochs=5, random_state=8).fit(X, WORDS)
    assert not np.array_equal(one.predict_proba(X), another.predict_proba(X))


def test_architectures_optimisers_and_searches():
    class Residual(nn.Module):
        def __init__(self, n_in, n_out):
            self.inner, self.last = nn.Dense(n_in, n_in, "tanh", seed=0), nn.Dense(n_in, n_out, seed=1)

        def forward(self, x):
            return self.last(x + self.inner(x))

    Y = np.stack([X[:, 0] ** 2, X[:, 1]], axis=1)
    net = NetRegressor(Residual, optimizer=tg.optim.RMSProp, lr=1e-2).fit(X, Y)
    assert net.predict(X).shape == (60, 2)
    assert isinstance(clone(net).fit(X, Y[:, 0]).net_, Residual)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), NetClassifier(epochs=10)), {"netclassifier__lr": [1e-5, 1e-2]}
    )
    assert search.fit(X, WORDS).best_params_ == {"netclassifier__lr": 1e-2}


def test_the_digits_in_cross_validation():
    digits = data.load("digits")
    scores = cross_val_score(NetClassifier(epochs=15), digits.train[0], digits.labels_train, cv=3)
    assert scores.min() > 0.9


def test_class_weights_move_the_decisions():
    mixed = rng.normal(size=(200, 2))
    rare = (rng.random(200) < 0.1).astype(int)
    plain, weighted = (NetClassifier(epochs=20, class_weight=w).fit(mixed, rare) for w in (None, "balanced"))
    assert weighted.predict(mixed).mean() > plain.predict(mixed).mean() + 0.2


def test_settings_that_do_not_fit_are_told():
    for options, text in (
        ({"optimizer": "lbfgs"}, "adam, sgd"),
        ({"network": lambda n, m: 3}, "must return a Module"),
        ({"validation": 1.5}, "between 0 and 1"),
        ({"epochs": -1}, "epochs"),
    ):
        with pytest.raises(ArgumentError, match=text):
            NetClassifier(**options).fit(X, WORDS)
    with pytest.raises(DataError, match="lower the learning rate"):
        NetRegressor(optimizer="sgd", lr=1e6).fit(X, X[:, 0])


def test_a_missing_scikit_learn_is_told(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name.startswith("sklearn"):
            raise ImportError("No module named 'sklearn'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "tinygraph.sklearn")
    with pytest.raises(ImportError, match=r'pip install "tinygraph\[sklearn\]"'):
        importlib.import_module("tinygraph.sklearn")
