"""Equation text as LaTeX: a table of pairs, and every library rule set by matplotlib."""

from __future__ import annotations

import re

import pytest
from matplotlib.mathtext import MathTextParser

from neurometa import rules
from neurometa.analysis.latex import equations, latex, latex_name
from neurometa.expression import FUNCTIONS
from neurometa.spec import MLP, Param, PlasticityRule, Sum, Trace

PRE, POST = r"x_{\mathrm{pre}}", r"x_{\mathrm{post}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eta*pre*post", rf"\eta \, {PRE} \, {POST}"),
        ("a - (b - c)", r"a - \left(b - c\right)"),
        ("a - b - c", "a - b - c"),
        ("a + (b + c)", "a + b + c"),
        ("a + (-b)", r"a + \left(-b\right)"),
        ("a*(b + c)", r"a \, \left(b + c\right)"),
        ("a/b*c", r"\frac{a}{b} \, c"),
        ("a/(b*c)", r"\frac{a}{b \, c}"),
        ("-elig/tau + pre", rf"-\frac{{\mathrm{{elig}}}}{{\tau}} + {PRE}"),
        ("-a*b/c", r"-\frac{a \, b}{c}"),
        ("-(a + b)", r"-\left(a + b\right)"),
        ("-w**2", "-w^{2}"),
        ("(-w)**2", r"\left(-w\right)^{2}"),
        ("post**2", rf"{POST}^{{2}}"),
        ("(a*b)**2", r"\left(a \, b\right)^{2}"),
        ("a**b**c", "a^{b^{c}}"),
        ("(a**b)**c", r"\left(a^{b}\right)^{c}"),
        ("tanh(w)**2", r"\left(\tanh\left(w\right)\right)^{2}"),
        ("2**-1", "2^{-1}"),
        ("w*2*3", r"w \cdot 2 \cdot 3"),
        ("2*w", r"2 \, w"),
        ("1e-7*w", r"10^{-7} \, w"),
        ("2.5e-7*w", r"2.5 \cdot 10^{-7} \, w"),
        ("1e-7**2", r"\left(10^{-7}\right)^{2}"),
        ("0.25 - w", "0.25 - w"),
        ("sqrt(a + b)", r"\sqrt{a + b}"),
        ("abs(w)**p", r"\left|w\right|^{p}"),
        ("exp(-w/tau)", r"\exp\left(-\frac{w}{\tau}\right)"),
        ("minimum(a, 1)", r"\min\left(a,\, 1\right)"),
        ("clip(w, -1, 1)", r"\mathrm{clip}\left(w,\, -1,\, 1\right)"),
        ("f(pre, w)", rf"f\left({PRE},\, w\right)"),
        ("int(a > b)*w", r"\mathbf{1}\left[a > b\right] \, w"),
        (
            "int(a >= 1 and not (b < c or d <= 2))",
            r"\mathbf{1}\left[a \geq 1 \wedge \neg \left(b < c \vee d \leq 2\right)\right]",
        ),
        ("int((a > b or c > d) and e > 0)", r"\mathbf{1}\left[\left(a > b \vee c > d\right) \wedge e > 0\right]"),
        ("dt/n_pre", r"\frac{\Delta t}{n_{\mathrm{pre}}}"),
        ("m_ach*theta_post", r"m_{\mathrm{ach}} \, \theta_{\mathrm{post}}"),
        ("  w\n", "w"),
    ],
)
def test_table(text, expected):
    assert latex(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lam", r"\lambda"),
        ("tau_fast", r"\tau_{\mathrm{fast}}"),
        ("eta1", r"\eta_{1}"),
        ("c0012", "c_{0012}"),
        ("a_theta", r"a_{\theta}"),
        ("x1_slow", r"x_{1,\mathrm{slow}}"),
        ("error_post", r"\mathrm{error}_{\mathrm{post}}"),
        ("w_eff", r"w_{\mathrm{eff}}"),
        ("elig", r"\mathrm{elig}"),
        ("Delta", r"\Delta"),
    ],
)
def test_names(name, expected):
    assert latex_name(name) == expected


def balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0 and text.count(r"\left") - text.count(r"\leftarrow") == len(re.findall(r"\\right(?!arrow)", text))


def set_by_matplotlib(formula: str) -> None:
    """Set a formula; what is not LaTeX is a ValueError. The longest ones nest deeper than matplotlib goes."""
    if len(formula) < 1000:
        MathTextParser("agg").parse(f"${formula}$")


def test_every_library_rule_is_balanced_and_can_be_set(library_rule):
    for text, formula in equations(rules.get(library_rule)):
        assert balanced(formula), text
        set_by_matplotlib(formula)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_can_be_set(name):
    formula = latex(f"{name}({', '.join(['w + 1'] * FUNCTIONS[name])})**2")
    assert balanced(formula)
    set_by_matplotlib(formula)


def test_equations_of_a_rule_with_everything():
    rule = PlasticityRule(
        "everything",
        step="old = w\nw = old + eta*f(pre, total)*x",
        traces={"x": Trace("(pre - x)/tau")},
        on_pre="w += a",
        params={"eta": Param(0.1), "tau": Param(5.0), "a": Param(0.1), "top": Param(1.0)},
        functions={"f": MLP(2)},
        sums={"total": Sum("w - post", over="both")},
        bounds=(-1, "top"),
    )
    texts, formulas = zip(*equations(rule), strict=True)
    assert texts == (
        "dx/dt = (pre - x)/tau",
        "total = sum of w - post over both",
        "step: old = w",
        "step: w = old + eta*f(pre, total)*x",
        "on_pre: w = w + (a)",
        "w between -1 and top",
    )
    assert formulas[1] == rf"\mathrm{{total}} = \sum_{{\mathrm{{pre}},\,\mathrm{{post}}}} \left(w - {POST}\right)"
    assert formulas[3].startswith(r"w \leftarrow \mathrm{old} + \eta \, f\left(")
    assert formulas[4] == r"w \leftarrow w + a \quad \mathrm{at\ a\ presynaptic\ spike}"
    assert formulas[5] == r"-1 \leq w \leq \mathrm{top}"
    for formula in formulas:
        assert balanced(formula)
        set_by_matplotlib(formula)


def test_infinite_bounds():
    rule = PlasticityRule("open", dw="pre", bounds=(0, float("inf")))
    assert equations(rule)[-1][1] == r"0 \leq w \leq \infty"
