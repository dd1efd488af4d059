"""The text of a Taylor rule, nested so that most of its products are of vectors, not of synapses."""

from __future__ import annotations

__all__ = ["coefficients", "polynomial"]


def coefficients(modulated: bool) -> tuple[str, ...]:
    """Return the names of the coefficients: ``c`` and the powers of pre, post, w (and m), ``c110`` for pre*post."""
    powers = range(3)
    names = [f"c{a}{b}{c}" for a in powers for b in powers for c in powers]
    return tuple(f"{name}{d}" for name in names for d in powers) if modulated else tuple(names)


def polynomial(modulated: bool) -> str:
    """Return the sum over all products of powers 0 to 2, by Horner's scheme: w outermost, then pre, post, m."""

    def nested(prefix: dict[str, int], variables: tuple[str, ...]) -> str:
        if not variables:
            return "c" + "".join(str(prefix[v]) for v in ("pre", "post", "w", "m") if v in prefix)
        variable, *rest = variables
        zero, one, two = (nested({**prefix, variable: power}, tuple(rest)) for power in range(3))
        return f"({zero} + {variable}*({one} + {variable}*{two}))"

    return nested({}, ("w", "pre", "post", *(("m",) if modulated else ())))
