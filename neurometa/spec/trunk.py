"""A non-plastic feature extractor in front of a network."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SpecificationError
from .base import Description, check_choice

__all__ = ["ConvTrunk"]


@dataclass(frozen=True, eq=False)
class ConvTrunk(Description):
    """Strided 3x3 convolutions from an image to a feature vector.

    Attributes
    ----------
    image_shape : tuple of int
        ``(channels, height, width)`` of the flattened stimulus.
    channels : tuple of int
        Output channels of each convolution; every one halves height and width.
    activation : {"relu", "tanh"}
        After every convolution.
    norm : {"none", "image", "support", "transductive"}
        After each convolution. ``image``: every image by its own mean and variance. ``support``: every channel by its
        mean and variance over the support set of the task; queries use the same. ``transductive``: every part of an
        episode by its own, so that queries see each other (the batch normalisation of published MAML code; its scores
        belong into a column of their own).
    out : {"linear", "tanh", "unit"}
        How the flattened features leave: as they are, through tanh, or divided by their length.
    precision : {"input", "bfloat16"}
        Number format inside the trunk; ``bfloat16`` is faster where the processor has instructions for it. Parameters
        and features keep the input's.
    """

    image_shape: tuple[int, int, int] = (1, 28, 28)
    channels: tuple[int, ...] = (64, 64, 64, 64)
    activation: str = "relu"
    norm: str = "image"
    out: str = "linear"
    precision: str = "input"

    def __post_init__(self):
        self._freeze("image_shape", "channels")
        check_choice(self.activation, ("relu", "tanh"), "ConvTrunk: activation")
        check_choice(self.norm, ("none", "image", "support", "transductive"), "ConvTrunk: norm")
        check_choice(self.out, ("linear", "tanh", "unit"), "ConvTrunk: out")
        check_choice(self.precision, ("input", "bfloat16"), "ConvTrunk: precision")
        if len(self.image_shape) != 3 or not self.channels or min(*self.image_shape, *self.channels) < 1:
            raise SpecificationError(
                f"ConvTrunk: image_shape {self.image_shape}, channels {self.channels}: sizes above 0"
            )

    @property
    def n_features(self) -> int:
        """Length of the feature vector."""
        _, height, width = self.image_shape
        for _ in self.channels:
            height, width = (height + 1) // 2, (width + 1) // 2
        return self.channels[-1] * height * width
