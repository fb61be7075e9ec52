"""Networks as estimators of scikit-learn, for its pipelines, searches and cross-validation.

They need ``pip install "tinygraph[sklearn]"``.

Inputs are taken as they are: put a ``StandardScaler`` before the network, and around a regressor whose targets are far
from 0 and 1 a ``TransformedTargetRegressor``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state, compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise ImportError(
        f'tinygraph.sklearn needs scikit-learn 1.6 or later ({error}); install it by: pip install "tinygraph[sklearn]"'
    ) from None

from . import losses
from .backend import current
from .backend.random import seeded
from .errors import ArgumentError
from .mode import no_grad
from .models import fully_connected
from .nn import Module
from .ops.random import preserved_streams, set_stream_state
from .optim import SGD, Adam, Optimizer
from .train import History, fit
from .train.objective import LossFunction
from .typing import ArrayLike

__all__ = ["NetClassifier", "NetRegressor"]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "sgd": partial(SGD, momentum=0.9)}


class _Net(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share: their settings, training, and the network's answers."""

    output: str  # the output activation of the network

    net_: Module
    history_: History

    def __init__(
        self,
        network: Callable[[int, int], Module] | None = None,
        *,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        optimizer: str | Callable[..., Optimizer] = "adam",
        lr: float = 1e-3,
        epochs: int = 100,
        batch_size: int = 32,
        l2: float = 0.0,
        validation: float | None = None,
        early_stopping: int | bool | None = None,
        random_state: object = 0,
        verbose: bool = False,
    ) -> None:
        self.network = network
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.l2 = l2
        self.validation = validation
        self.early_stopping = early_stopping
        self.random_state = random_state
        self.verbose = verbose

    def _train(self, X: np.ndarray, Y: np.ndarray, n_outputs: int, loss: LossFunction) -> None:
        """Build the network for the columns of `X` and `n_outputs`, and train it."""
        seed = int(check_random_state(self.random_state).randint(2**31))
        with preserved_streams(), seeded(seed):
            set_stream_state(current(), np.array([seed, 0], np.uint64))
            if self.network is None:
                sizes = [X.shape[1], *self.hidden, n_outputs]
                net: Module = fully_connected(sizes, self.activation, self.output, seed=seed)
            else:
                net = self.network(X.shape[1], n_outputs)
                if not isinstance(net, Module):
                    raise ArgumentError(f"network must return a Module, got {net!r:.60}")
                net.output = net.output or self.output
            make = OPTIMIZERS.get(self.optimizer) if isinstance(self.optimizer, str) else self.optimizer
            if make is None:
                names = ", ".join(OPTIMIZERS)
                raise ArgumentError(f"optimizer must be one of {names}, or a class, got {self.optimizer!r}")
            self.history_ = fit(
                net,
                loss,
                (X, Y),
                make(net.parameters(), self.lr),
                self.epochs,
                self.batch_size,
                l2=self.l2,
                validation=self.validation,
                early_stopping=self.early_stopping,
                progress=bool(self.verbose),
                seed=seed,
            )
        self.net_ = net.eval()

    def _predictions(self, X: ArrayLike) -> np.ndarray:
        """Return gamma-hat for checked inputs."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)  # pyright: ignore[reportArgumentType]
        with no_grad():
            prediction: np.ndarray = self.net_.predict(X).numpy()
        return prediction


class NetClassifier(ClassifierMixin, _Net):  # type: ignore[misc]
    """A network that decides on one class, trained by the cross-entropy of a softmax.

    Parameters
    ----------
    network : callable, optional
        From the numbers of inputs and classes to a `Module` that returns signals of shape (B, classes); by default a
        fully-connected network.
    hidden : sequence of int
        Nodes of the hidden layers of that.
    activation : str
        Of these: a name of `nn.ACTIVATIONS`.
    optimizer : {"adam", "sgd"} or callable
        "sgd" has momentum 0.9; a callable is called with the parameters and `lr`.
    lr : float
        The learning rate.
    epochs, batch_size, l2, validation, early_stopping
        As for `tinygraph.fit`; `validation` is a share of the samples.
    class_weight : dict of class to float, "balanced", or None
        What the samples of each class count in the loss; "balanced": all classes together as much.
    random_state : int, RandomState or None
        Decides initial weights, masks and the order of samples; None: another one at each call.
    verbose : bool
        Show progress.

    Attributes
    ----------
    net_ : Module
    history_ : History
    classes_ : array of shape (classes,)
    n_features_in_ : int
    """

    output = "softmax"

    def __init__(
        self,
        network: Callable[[int, int], Module] | None = None,
        *,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        optimizer: str | Callable[..., Optimizer] = "adam",
        lr: float = 1e-3,
        epochs: int = 100,
        batch_size: int = 32,
        l2: float = 0.0,
        validation: float | None = None,
        early_stopping: int | bool | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: object = 0,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            network,
            hidden=hidden,
            activation=activation,
            optimizer=optimizer,
            lr=lr,
            epochs=epochs,
            batch_size=batch_size,
            l2=l2,
            validation=validation,
            early_stopping=early_stopping,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network on `X` of shape (n, features) and `y` of shape (n,), classes of any kind."""
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, indices = np.unique(y, return_inverse=True)
        loss: Any = losses.cross_entropy
        if self.class_weight is not None:
            by_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            loss = partial(losses.cross_entropy, class_weights=by_class)
        self._train(X, indices.astype(np.int64), len(self.classes_), loss)
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probabilities of the classes, shape (n, classes), in the order of `classes_`."""
        return self._predictions(X)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the class of every row of `X`."""
        decisions = self._predictions(X).argmax(axis=1)
        classes: np.ndarray = self.classes_[decisions]
        return classes


class NetRegressor(RegressorMixin, _Net):  # type: ignore[misc]
    """A network with real outputs, trained by the squared error.

    Parameters
    ----------
    network : callable, optional
        From the numbers of inputs and outputs to a `Module` that returns signals of shape (B, outputs); by default a
        fully-connected network.
    hidden, activation, optimizer, lr, epochs, batch_size, l2, validation, early_stopping, random_state, verbose
        As for `NetClassifier`.

    Attributes
    ----------
    net_ : Module
    history_ : History
    n_features_in_ : int
    """

    output = "linear"

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new network on `X` of shape (n, features) and `y` of shape (n,) or (n, outputs)."""
        X, y = validate_data(self, X, y, dtype=np.float32, multi_output=True, y_numeric=True)
        self._one_axis = y.ndim == 1
        Y = np.asarray(y, np.float32).reshape(len(y), -1)
        self._train(X, Y, Y.shape[1], losses.squared_error)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the outputs for every row of `X`, in the shape of the `y` of `fit`."""
        prediction = self._predictions(X).astype(np.float64)  # as regressors of scikit-learn do
        return prediction[:, 0] if self._one_axis else prediction

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
