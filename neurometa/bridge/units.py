"""Quantities as plain numbers in one coherent set of units: ms, mV, nA, um, and what follows from them.

A formula whose quantities are all written in coherent units keeps its meaning without any conversion factor: current in
nA over voltage in mV is conductance in uS; times ms it is capacitance in nF; rates are in 1/ms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import SpecificationError

__all__ = ["numbers", "unit_of"]

#: Powers of ten of our units of voltage, time, current and length.
_POWERS = (-3, -3, -9, -6)
_NAMES = ("mV", "ms", "nA", "um")
_COMPOUND: dict[tuple[float, ...], str] = {
    (0, 0, 0, 0): "",
    (0, -1, 0, 0): "1/ms",
    (-1, 0, 1, 0): "uS",
    (-1, 1, 1, 0): "nF",
    (1, 0, -1, 0): "Mohm",
    (0, 1, 1, 0): "pC",
}


def _exponents(dim: Any, where: str) -> tuple[float, ...]:
    """Return the exponents of voltage, time, current and length."""
    kg = dim.get_dimension("kg")
    found = (kg, dim.get_dimension("s") + 3 * kg, dim.get_dimension("A") + kg, dim.get_dimension("m") - 2 * kg)
    if any(dim.get_dimension(name) for name in ("K", "mol", "cd")):
        raise SpecificationError(
            f"{where} has the unit {dim!r}; allowed are products of time, voltage, current and length: divide it by "
            "its unit, so that it is a number"
        )
    return found


def unit_of(dim: Any, where: str) -> str:
    """Return the name of our unit of a dimension: ``"ms"``, ``"mV"``, ``"1/ms"``, ``"uS"``; empty for a number."""
    found = _exponents(dim, where)
    if found in _COMPOUND:
        return _COMPOUND[found]
    parts = [name if n == 1 else f"{name}^{n:g}" for name, n in zip(_NAMES, found, strict=True) if n]
    return " ".join(parts)


def numbers(value: Any, dim: Any, where: str) -> np.ndarray:
    """Return values in base units (seconds, volts) as numbers in ours.

    Parameters
    ----------
    value : array_like
        In base units, without a unit.
    dim : Dimension
        Brian2's.
    where : str
        Whose value this is.

    Raises
    ------
    SpecificationError
        If the dimension is none that our units make.
    """
    found = np.asarray(value, dtype=np.float64)
    power = sum(n * p for n, p in zip(_exponents(dim, where), _POWERS, strict=True))
    if power == 0:
        return found
    scaled = found * 10.0**-power if power < 0 else found / 10.0**power
    # 0.07 V are 70 mV, not 70.00000000000001: 15 digits are what a float holds for certain
    return np.array([float(f"{x:.15g}") for x in scaled.ravel()]).reshape(scaled.shape)
