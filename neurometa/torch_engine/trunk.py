"""A convolutional trunk as plain functions of its parameters, which may differ per task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spec import ConvTrunk
from ..tree import Tree

__all__ = ["apply_trunk", "init_trunk"]


def init_trunk(
    trunk: ConvTrunk,
    stream: torch.Generator,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tree:
    """Draw the parameters of a trunk: ``trunk.<layer>.{w,b}`` and, with normalisation, ``.{scale,shift}``."""
    dtype = dtype or torch.get_default_dtype()
    params: Tree = {}
    fan_in = trunk.image_shape[0]
    for i, channels in enumerate(trunk.channels):
        weight = torch.randn(channels, fan_in, 3, 3, generator=stream, dtype=dtype)
        params[f"trunk.{i}.w"] = weight * (2 / (9 * fan_in)) ** 0.5  # He et al. 2015, doi:10.1109/ICCV.2015.123
        params[f"trunk.{i}.b"] = torch.zeros(channels, dtype=dtype)
        if trunk.norm == "image":
            params[f"trunk.{i}.scale"] = torch.ones(channels, dtype=dtype)
            params[f"trunk.{i}.shift"] = torch.zeros(channels, dtype=dtype)
        fan_in = channels
    return {name: leaf.to(device) for name, leaf in params.items()}


def apply_trunk(trunk: ConvTrunk, params: Mapping[str, Tensor], stimulus: Tensor) -> Tensor:
    """Turn flattened images into features.

    Parameters
    ----------
    trunk : ConvTrunk
        The description.
    params : mapping of str to Tensor
        Leaves from `init_trunk`; where they carry a batch axis, every task has a trunk of its own.
    stimulus : Tensor
        ``(time, batch, channels*height*width)``.

    Returns
    -------
    Tensor
        ``(time, batch, n_features)``.
    """
    own = {name: leaf for name, leaf in params.items() if name.startswith("trunk.")}
    batched = {name: 0 if leaf.ndim - (4 if name.endswith(".w") else 1) else None for name, leaf in own.items()}
    if any(axis == 0 for axis in batched.values()):
        return torch.vmap(lambda p, x: _features(trunk, p, x), in_dims=(batched, 1), out_dims=1)(own, stimulus)
    time, batch, _ = stimulus.shape
    features = _features(trunk, own, stimulus.flatten(0, 1), torch.channels_last)  # the fast layout on a CPU
    return features.unflatten(0, (time, batch))


def _features(
    trunk: ConvTrunk,
    params: Mapping[str, Tensor],
    images: Tensor,
    layout: torch.memory_format = torch.preserve_format,
) -> Tensor:
    x = images.unflatten(-1, trunk.image_shape)  # (n, channels, height, width)
    x = x.to(torch.bfloat16 if trunk.precision == "bfloat16" else x.dtype, memory_format=layout)
    for i in range(len(trunk.channels)):
        layer = {name: params[f"trunk.{i}.{name}"] for name in ("w", "b")}
        x = F.conv2d(x, layer["w"].to(x.dtype), layer["b"].to(x.dtype), stride=2, padding=1)
        if trunk.norm == "image":
            scale, shift = params[f"trunk.{i}.scale"].to(x.dtype), params[f"trunk.{i}.shift"].to(x.dtype)
            x = F.group_norm(x, 1, scale, shift)
        x = torch.tanh(x) if trunk.activation == "tanh" else torch.relu(x)
    x = x.flatten(1).to(images.dtype)  # (n, n_features)
    if trunk.out == "tanh":
        return torch.tanh(x)
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6) if trunk.out == "unit" else x
