r"""LaTeX of equation text, in the order of the text; no algebra is done.

Notation: ``pre``, ``post`` and every ``<variable>_pre`` carry their side as an upright index,
:math:`x_{\mathrm{pre}}`, :math:`\mathrm{error}_{\mathrm{post}}`; ``tau``, ``eta`` and other names of Greek letters
become the letter (``lam`` is :math:`\lambda`), words of several letters stand upright, underscores and trailing digits
make an index. ``/`` is a fraction, ``**`` a power, functions are upright, ``int(a > b)`` is an indicator
:math:`\mathbf{1}\left[a > b\right]`; :math:`\leftarrow` is an assignment.
"""

from __future__ import annotations

import ast
import math
import re

from ..spec import PlasticityRule, Trace

__all__ = ["equations", "latex", "latex_name"]

_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa mu nu rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Sigma Upsilon Phi Psi Omega".split()
)
_FIXED = {"pre": r"x_{\mathrm{pre}}", "post": r"x_{\mathrm{post}}", "dt": r"\Delta t", "lam": r"\lambda"}
_FUNCTIONS = {
    **{name: rf"\{name}" for name in ("exp", "log", "sin", "cos", "tanh", "arctan")},
    **{"minimum": r"\min", "maximum": r"\max", "relu": r"\mathrm{ReLU}"},
}
_COMPARISONS: dict[type, str] = {ast.Lt: "<", ast.LtE: r"\leq", ast.Gt: ">", ast.GtE: r"\geq"}
#: How tightly a written part holds together; a looser one is put in brackets where a tighter one is needed.
_SUM, _PRODUCT, _WHOLE = 1, 2, 3


def latex(text: str) -> str:
    r"""Return the LaTeX of one formula.

    Parameters
    ----------
    text : str
        Text that `neurometa.expression.parse` accepts.

    Returns
    -------
    str
        For a formula environment, without dollar signs.

    Examples
    --------
    >>> print(latex("-elig/tau + pre*post**2"))
    -\frac{\mathrm{elig}}{\tau} + x_{\mathrm{pre}} \, x_{\mathrm{post}}^{2}
    """
    return _write(ast.parse(text.strip(), mode="eval").body)[0]


def latex_name(name: str) -> str:
    r"""Return the LaTeX of one name.

    Examples
    --------
    >>> latex_name("tau_fast"), latex_name("theta_post"), latex_name("a1")
    ('\\tau_{\\mathrm{fast}}', '\\theta_{\\mathrm{post}}', 'a_{1}')
    """
    if name in _FIXED:
        return _FIXED[name]
    stem, *indices = name.split("_")
    match = re.fullmatch(r"([A-Za-z]+?)(\d+)", stem)
    if match:
        stem, indices = match[1], [match[2], *indices]
    return _word(stem) + (f"_{{{','.join(map(_word, indices))}}}" if indices else "")


def _word(word: str) -> str:
    if word in _GREEK:
        return rf"\{word}"
    return _FIXED["lam"] if word == "lam" else word if len(word) == 1 or word.isdigit() else rf"\mathrm{{{word}}}"


def _bracket(text: str) -> str:
    return rf"\left({text}\right)"


def _write(node: ast.expr) -> tuple[str, int]:
    """Return the LaTeX of a part and how tightly it holds together."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return _number(node.value)
    if isinstance(node, ast.Name):
        return latex_name(node.id), _WHOLE
    if isinstance(node, ast.UnaryOp):
        sign = "-" if isinstance(node.op, ast.USub) else ""
        return sign + _part(node.operand, _PRODUCT), _SUM
    if isinstance(node, ast.BinOp):
        return _binary(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node.func.id, node.args)
    raise TypeError(f"unchecked node {type(node).__name__}")


def _part(node: ast.expr, least: int) -> str:
    text, level = _write(node)
    return text if level >= least else _bracket(text)


def _binary(node: ast.BinOp) -> tuple[str, int]:
    if isinstance(node.op, ast.Pow):
        return f"{_part(node.left, _WHOLE)}^{{{_write(node.right)[0]}}}", _PRODUCT
    positive = _without_sign(node)
    if positive:  # (-a)/b is written as -(a/b)
        return "-" + _part(positive, _PRODUCT), _SUM
    if isinstance(node.op, ast.Div):
        return rf"\frac{{{_write(node.left)[0]}}}{{{_write(node.right)[0]}}}", _PRODUCT
    if isinstance(node.op, ast.Mult):
        left, right = _part(node.left, _PRODUCT), _part(node.right, _PRODUCT)
        return rf"{left} \cdot {right}" if right[0].isdigit() else rf"{left} \, {right}", _PRODUCT
    left, (right, level) = _write(node.left)[0], _write(node.right)
    minus = isinstance(node.op, ast.Sub)
    if right.startswith("-") or (minus and level == _SUM):
        right = _bracket(right)
    return f"{left} {'-' if minus else '+'} {right}", _SUM


def _without_sign(node: ast.expr) -> ast.expr | None:
    """Return a product or quotient without the minus that it begins with; None where it begins with none."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return node.operand
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        left = _without_sign(node.left)
        return ast.BinOp(left, node.op, node.right) if left else None
    return None


def _number(value: float) -> tuple[str, int]:
    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty", _WHOLE
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa, _WHOLE
    power = f"10^{{{int(exponent)}}}"
    return (power if mantissa == "1" else rf"{mantissa} \cdot {power}"), _PRODUCT


def _call(name: str, arguments: list[ast.expr]) -> tuple[str, int]:
    """Write a call; a power of one is put in brackets, the square of the tangent being no function's name."""
    if name == "int":
        return rf"\mathbf{{1}}\left[{_condition(arguments[0])[0]}\right]", _WHOLE
    inner = r",\, ".join(_write(argument)[0] for argument in arguments)
    if name == "sqrt":
        return rf"\sqrt{{{inner}}}", _PRODUCT
    if name == "abs":
        return rf"\left|{inner}\right|", _WHOLE
    return f"{_FUNCTIONS.get(name) or latex_name(name)}{_bracket(inner)}", _PRODUCT


def _condition(node: ast.expr) -> tuple[str, bool]:
    """Return the LaTeX of a condition, and whether it is one comparison."""
    if isinstance(node, ast.BoolOp):
        word = r" \vee " if isinstance(node.op, ast.Or) else r" \wedge "
        parts = [_condition(value) for value in node.values]
        return word.join(text if whole else _bracket(text) for text, whole in parts), False
    if isinstance(node, ast.UnaryOp):
        return rf"\neg {_bracket(_condition(node.operand)[0])}", True
    assert isinstance(node, ast.Compare)
    operator = _COMPARISONS[type(node.ops[0])]
    return f"{_write(node.left)[0]} {operator} {_write(node.comparators[0])[0]}", True


def equations(rule: PlasticityRule) -> list[tuple[str, str]]:
    """Return every equation of a rule as ``(text, LaTeX)``: change, traces, sums, statements, bounds.

    Parameters
    ----------
    rule : PlasticityRule
        Any rule.

    Returns
    -------
    list of (str, str)
        In the order in which they are printed.

    Examples
    --------
    >>> from neurometa import rules
    >>> equations(rules.get("oja"))[0][0]
    'dw/dt = eta*post*(pre - post*w)'
    """
    rates = {"w": rule.dw} | {k: v.text for k, v in rule.traces.items() if isinstance(v, Trace)}
    found = [
        (f"d{k}/dt = {v}", rf"\frac{{\mathrm{{d}}{latex_name(k)}}}{{\mathrm{{d}}t}} = {latex(v)}")
        for k, v in rates.items()
        if v
    ]
    for name, total in rule.sums.items():
        over = r",\,".join(rf"\mathrm{{{s}}}" for s in (("pre", "post") if total.over == "both" else (total.over,)))
        term = _part(ast.parse(total.text.strip(), mode="eval").body, _PRODUCT)
        text = f"{name} = sum of {total.text} over {total.over}"
        found.append((text, rf"{latex_name(name)} = \sum_{{{over}}} {term}"))
    for label, said in (("step", ""), ("on_pre", "presynaptic"), ("on_post", "postsynaptic")):
        when = rf" \quad \mathrm{{at\ a\ {said}\ spike}}" if said else ""
        for a in rule.assignments[label]:
            text = f"{label}: {a.target} = {a.expression.text}"
            found.append((text, rf"{latex_name(a.target)} \leftarrow {latex(a.expression.text)}{when}"))
    if rule.bounds is not None:
        low, high = (latex_name(b) if isinstance(b, str) else _number(b)[0] for b in rule.bounds)
        found.append((f"w between {rule.bounds[0]} and {rule.bounds[1]}", rf"{low} \leq w \leq {high}"))
    return found
