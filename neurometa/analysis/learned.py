"""The parameters that a rule has learned, taken out of the network in which it learned them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..tree import Tree

__all__ = ["learned", "rule_leaves"]


def rule_leaves(params: Mapping[str, Tensor], projection: str) -> Tree:
    """Return the stored parameters of a projection's rule by their own names.

    Parameters
    ----------
    params : mapping of str to Tensor
        Of a run.
    projection : str
        Its label.

    Examples
    --------
    >>> import torch
    >>> rule_leaves({"a__b.rule.eta": torch.ones(1, 1), "a__b.w0": torch.ones(2, 2)}, "a__b")
    {'eta': tensor([[1.]])}
    """
    own = f"{projection}.rule."
    return {name.removeprefix(own): leaf for name, leaf in params.items() if name.startswith(own)}


def learned(params: Mapping[str, Tensor], leaves: Mapping[str, Tensor], projection: str = "plastic") -> Tree:
    """Return parameters of a small network with a rule's learned ones in place; of many values the mean is taken."""
    found = dict(params)
    for name, leaf in leaves.items():
        key = f"{projection}.rule.{name}"
        if key in found:
            mine = leaf.detach().to(found[key])
            found[key] = mine if mine.shape == found[key].shape else mine.mean().expand_as(found[key])
    return found
