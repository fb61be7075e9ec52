"""scikit-learn's MLPClassifier, one batch at a time by partial_fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from tinygraph.tools.bench.contenders.training import Training, Unsuitable
from tinygraph.tools.bench.workloads import ADAM_EPS, BETAS, Workload, batches


def classifier(workload: Workload) -> Training:
    """Return the step; its loss contains the regulariser."""
    if workload.batch_norm or workload.dropout:
        raise Unsuitable("it has neither batch normalisation nor dropout")
    if workload.radius is not None or workload.two_branches or workload.activation == "squash" or workload.penalty:
        raise Unsuitable("it has fully-connected layers, activations and a loss of its own only")
    if workload.sizes[-1] == 2:
        raise Unsuitable("for two classes it has one logistic output, not a softmax of two")
    model = MLPClassifier(
        workload.sizes[1:-1],
        workload.activation,
        solver=workload.optimizer,
        alpha=2 * workload.rho * workload.batch,  # it divides by the batch
        batch_size=workload.batch,
        learning_rate_init=workload.lr,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        random_state=0,
        beta_1=BETAS[0],
        beta_2=BETAS[1],
        epsilon=ADAM_EPS,
    )
    classes = np.arange(workload.sizes[-1])

    def step(x: np.ndarray, labels: np.ndarray) -> Any:
        model.partial_fit(x, labels, classes=classes)
        return model.loss_

    return Training(step, batches(workload))
