"""A convolutional trunk as plain functions of its parameters, which may differ per task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from ..spec import ConvTrunk
from ..tree import Tree, to_batch

__all__ = ["apply_trunk", "init_trunk", "n_axes", "trunk_statistics"]

EPSILON = 1e-5


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
        if trunk.norm != "none":
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
        Leaves from `init_trunk`; where they carry a batch axis, every task has a trunk of its own. Statistics from
        `trunk_statistics` among them take the place of the stimulus's own (``norm="support"``).
    stimulus : Tensor
        ``(time, batch, channels*height*width)``.

    Returns
    -------
    Tensor
        ``(time, batch, n_features)``.
    """
    return _forward(trunk, params, stimulus)[0]


def trunk_statistics(trunk: ConvTrunk, params: Mapping[str, Tensor], stimulus: Tensor) -> Tree:
    """Return by what the images of each task were normalised: ``trunk.<layer>.{mean,variance}``, ``(batch, channels)``.

    Empty unless ``norm="support"``.
    """
    return _forward(trunk, params, stimulus)[1] if trunk.norm == "support" else {}


def _forward(trunk: ConvTrunk, params: Mapping[str, Tensor], stimulus: Tensor) -> tuple[Tensor, Tree]:
    statistics: Tree = {}
    params = {
        name: to_batch(leaf, n_axes(name), stimulus.shape[1])
        for name, leaf in params.items()
        if name.startswith("trunk.")
    }
    images = stimulus.flatten(0, 1).unflatten(-1, trunk.image_shape)
    dtype = torch.bfloat16 if trunk.precision == "bfloat16" else stimulus.dtype
    images = images.to(dtype, memory_format=torch.channels_last)  # the fast layout on a CPU
    x = images.permute(0, 2, 3, 1).unflatten(0, stimulus.shape[:2])  # (time, batch, height, width, c)
    for i in range(len(trunk.channels)):
        own = {name: params[f"trunk.{i}.{name}"] for name in ("w", "b")}
        x = _convolve(x, own["w"], own["b"])
        if trunk.norm != "none":
            scale, shift = params[f"trunk.{i}.scale"], params[f"trunk.{i}.shift"]
            if trunk.norm == "image":
                x = _by_image(x, scale, shift)
            else:
                names = (f"trunk.{i}.mean", f"trunk.{i}.variance")
                known = (params[names[0]], params[names[1]]) if names[0] in params and trunk.norm == "support" else None
                x, used = _by_task(x, scale, shift, known, stimulus.dtype)
                statistics |= dict(zip(names, used, strict=True))
        x = torch.tanh(x) if trunk.activation == "tanh" else torch.relu(x)
    features = x.movedim(-1, 2).flatten(2).to(stimulus.dtype)  # (time, batch, n_features)
    if trunk.out == "tanh":
        features = torch.tanh(features)
    elif trunk.out == "unit":
        features = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return features, statistics


def n_axes(name: str) -> int:
    """Return the number of axes of a leaf of a trunk, a batch axis not counted."""
    return 4 if name.endswith(".w") else 1


def _convolve(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Convolve ``(time, batch, height, width, c)``, 3x3, stride 2, padding 1."""
    w, b = w.to(x.dtype), b.to(x.dtype)
    if w.ndim == 4 and b.ndim == 1:
        images = F.conv2d(x.flatten(0, 1).permute(0, 3, 1, 2), w, b, stride=2, padding=1)
        return images.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
    # A kernel per task: patches times weights, one matrix product for all tasks.
    time, batch, height, width, c = x.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    padded = F.pad(x.transpose(0, 1), (0, 0, 1, 1, 1, 1))
    patches = [padded[:, :, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2] for i in range(3) for j in range(3)]
    kernels = w if w.ndim == 5 else w.expand(batch, *w.shape)
    matrix = kernels.permute(0, 3, 4, 2, 1).flatten(1, 3)  # (batch, 9*c, post)
    out = torch.cat(patches, -1).reshape(batch, time * rows * columns, 9 * c) @ matrix  # (batch, places, post)
    bias = b if b.ndim == 1 else b.unsqueeze(1)
    return (out + bias).unflatten(1, (time, rows, columns)).transpose(0, 1)


def _by_image(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalise every image by its own mean and variance."""
    images = x.flatten(0, 1).permute(0, 3, 1, 2)
    if unpack_dual(images).tangent is not None:  # torch's group_norm fails in forward mode on any other layout
        images = images.contiguous()
    # With a scale that needs a gradient and images that need none, group_norm's own backward pass crashes the process
    # on a CPU (torch 2.13).
    safe = images.requires_grad or not (scale.requires_grad or shift.requires_grad)
    if safe and scale.ndim == shift.ndim == 1:
        images = F.group_norm(images, 1, scale.to(x.dtype), shift.to(x.dtype), EPSILON)
        return images.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
    images = F.group_norm(images, 1, eps=EPSILON).permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
    return images * _per_task(scale).to(x.dtype) + _per_task(shift).to(x.dtype)


def _by_task(
    x: Tensor, scale: Tensor, shift: Tensor, known: tuple[Tensor, Tensor] | None, dtype: torch.dtype
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Normalise every channel over all images of a task, in full precision; return what was used too."""
    full = x.to(dtype)
    if known is None:
        mean = full.mean((0, 2, 3))  # (batch, c)
        known = mean, (full - _per_task(mean)).square().mean((0, 2, 3))
    factor = torch.rsqrt(_per_task(known[1]) + EPSILON) * _per_task(scale)
    return ((full - _per_task(known[0])) * factor + _per_task(shift)).to(x.dtype), known


def _per_task(leaf: Tensor) -> Tensor:
    """Give ``(c,)`` or ``(batch, c)`` the axes of ``(time, batch, height, width, c)``."""
    return leaf if leaf.ndim == 1 else leaf[:, None, None]
