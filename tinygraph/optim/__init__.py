"""Optimisers, learning rates that change, and limits for gradients."""

from typing import TYPE_CHECKING, NoReturn

from ..counterparts import no_attribute
from .clipping import clip_grad_norm, clip_grad_value
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSProp
from .schedules import CosineDecay, ExponentialDecay, InverseTimeDecay, Plateau, Schedule, StepDecay, Warmup

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "Schedule",
    "StepDecay",
    "Warmup",
    "clip_grad_norm",
    "clip_grad_value",
]


if not TYPE_CHECKING:  # a type checker knows by itself what is not there

    def __getattr__(name: str) -> NoReturn:
        raise no_attribute(__name__, name)
