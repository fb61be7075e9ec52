"""(65.35)-(65.42): from gamma-hat to the decision gamma-star, for regression, multilabel and multiclass outputs."""

import numpy as np
import pytest

from tinygraph.models import fully_connected


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "tanh", "linear"])
def test_decisions(output, rng):
    net = fully_connected([3, 4], output=output, init_bias="normal", seed=0, dtype=np.float64)
    X = rng.normal(size=(20, 3))
    gamma_hat, decided = net.predict(X).numpy(), net.decide(X).numpy()
    for y, star in zip(gamma_hat, decided, strict=True):
        if output == "softmax":
            expected = [1.0 if k == list(y).index(max(y)) else 0.0 for k in range(4)]
        elif output == "sigmoid":
            expected = [1.0 if v >= 0.5 else 0.0 for v in y]
        elif output == "tanh":
            expected = [1.0 if v > 0 else -1.0 for v in y]
        else:
            expected = y
        np.testing.assert_array_equal(star, expected)
