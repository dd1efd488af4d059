"""Equation text: what the compiled function computes, what is refused, and that text never runs as code."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from datetime import timedelta
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from neurometa.errors import ExpressionError
from neurometa.expression import FUNCTIONS, NUMPY, POPULATION_FUNCTIONS, UNITS, parse, parse_assignments
from neurometa.torch_engine.ops import TORCH

QUICK = settings(
    max_examples=300, deadline=timedelta(seconds=2), suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

# --- an independent evaluator: it walks Python's tree and computes, where the package writes source ------------------

NUMPY_MEANING = {
    **{name: getattr(np, name) for name in "exp log sqrt sin cos tanh arctan abs sign minimum maximum".split()},
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "relu": lambda x: np.maximum(x, 0.0),
    "spike": lambda x: (x > 0) * 1.0,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
}


def _torch_smaller(a, b):
    match a, b:
        case torch.Tensor(), torch.Tensor():
            return torch.minimum(a, b)
        case (torch.Tensor() as x, number) | (number, torch.Tensor() as x):
            return x.clamp(max=number)
    return float(np.minimum(a, b))


def _torch_larger(a, b):
    match a, b:
        case torch.Tensor(), torch.Tensor():
            return torch.maximum(a, b)
        case (torch.Tensor() as x, number) | (number, torch.Tensor() as x):
            return x.clamp(min=number)
    return float(np.maximum(a, b))


TORCH_MEANING = {
    **{name: getattr(torch, name) for name in "exp log sqrt sin cos tanh arctan abs sign sigmoid relu".split()},
    "softplus": lambda x: torch.logaddexp(x, x.new_zeros(x.shape)),
    "spike": lambda x: torch.where(x > 0, 1.0, 0.0).to(x.dtype),
    "minimum": _torch_smaller,
    "maximum": _torch_larger,
    "clip": lambda x, low, high: _torch_smaller(_torch_larger(x, low), high),
}
OPERATIONS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: np.power(a, b) if isinstance(a, np.float64) and isinstance(b, np.float64) else a**b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def evaluate(node, values, meaning=NUMPY_MEANING, number=lambda found: np.asarray(found, np.float64)):
    """Evaluate directly; a part that reads no variable is computed in numpy float64 and becomes a number."""
    reads = any(isinstance(n, ast.Name) and n.id in values for n in ast.walk(node))
    if values and not reads:
        return float(evaluate(node, {}))
    again = lambda child: evaluate(child, values, meaning, number)  # noqa: E731
    match node:
        case ast.Constant(value=value):
            return np.float64(value)
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -again(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATIONS[type(op)](again(left), again(right))
        case ast.Call(func=ast.Name(id="int"), args=[condition]):
            return number(truth(condition, again))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return meaning[name](*map(again, arguments))
    raise AssertionError(ast.dump(node))


def truth(node, value):
    match node:
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return reduce(join, [np.asarray(truth(part, value)) for part in parts])
        case ast.UnaryOp(operand=operand):
            return np.logical_not(truth(operand, value))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return OPERATIONS[type(op)](value(left), value(right))
    raise AssertionError(ast.dump(node))


# --- random text of the grammar --------------------------------------------------------------------------------------

NUMBERS = st.sampled_from(["0", "1", "2", "3.25", "0.1", "1e-3", "10", "1e300", "7", "0.5"])
EXPONENTS = st.sampled_from(["2", "3", "0.5", "-1", "-2.5", "16", "0", "a", "(1/3)"])


LEAVES = st.one_of(st.sampled_from("abc"), NUMBERS)
ONE, TWO = ([name for name, n in FUNCTIONS.items() if n == k] for k in (1, 2))


def _node(draw, size: int) -> str:
    """Return a random formula of about ``size`` parts."""
    if size < 2:
        return draw(LEAVES)
    kind = draw(st.integers(0, 8))
    if kind < 3:
        left = draw(st.integers(1, size - 1))
        inner = f"{_node(draw, left)} {draw(st.sampled_from('+-*/'))} {_node(draw, size - left)}"
        return inner if kind == 0 else f"({inner})"
    if kind == 3:
        return f"({_node(draw, size - 1)})**{draw(EXPONENTS)}"
    if kind == 4:
        return draw(st.sampled_from(["-{}", "(-{})", "--{}"])).format(_node(draw, size - 1))
    if kind == 5:
        return f"{draw(st.sampled_from(ONE))}({_node(draw, size - 1)})"
    if kind == 6:
        return f"{draw(st.sampled_from(TWO))}({_node(draw, size // 2)}, {_node(draw, size // 2)})"
    if kind == 7:
        return f"clip({_node(draw, size // 3)}, {_node(draw, size // 3)}, {_node(draw, size // 3)})"
    return f"int({_condition(draw, size - 1)})"


def _condition(draw, size: int) -> str:
    kind = draw(st.integers(0, 4)) if size > 3 else 0
    if kind < 2:
        return f"{_node(draw, size // 2)} {draw(st.sampled_from(['<', '<=', '>', '>=']))} {_node(draw, size // 2)}"
    if kind == 2:
        return f"not {_condition(draw, size - 1)}"
    joined = f"{_condition(draw, size // 2)} {draw(st.sampled_from(['and', 'or']))} {_condition(draw, size // 2)}"
    return joined if kind == 3 else f"not ({joined})"


@st.composite
def texts(draw):
    return _node(draw, draw(st.integers(1, 24)))


FLOATS = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-310, 1e200]))
VALUES = st.lists(FLOATS, min_size=8, max_size=8)


def same_bits(a, b) -> bool:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return a.shape == b.shape and bool(np.all((a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))))


def arrays(values):
    return {"a": np.array(values[:3]).reshape(3, 1), "b": np.array(values[3:7]), "c": np.array(values[7:])}


@QUICK
@given(texts(), VALUES)
@np.errstate(all="ignore")
@example("int(a > b and not c <= 1/3)*-a**2 + clip(b, -c, 1)/3", [1.0, -2.0, np.nan, 0.0, -0.0, 2.0, np.inf, 0.5])
@example("minimum(a, 0.1) - maximum(0.1, -b) + int(not 2 < 1 or a < b)", [0.0] * 8)
@example("clip(0, 1, a) + clip(2, 1, -b)", [0.0, 2.0, np.nan, np.inf, -0.0, 1.0, 0.5, 0.5])
@example("int(spike(b) < exp(a))", [0.0, 0.0, 1.0, 0.0, np.inf, -np.inf, np.nan, 0.5])
@example("int(2 < 1 or a < b) - int(not (1 < 2 and b < c))", [0.0] * 8)
def test_compiled_text_equals_direct_evaluation_bit_for_bit(text, values):
    node = ast.parse(text, mode="eval").body
    named = arrays(values)
    expression = parse(text)
    found = expression.function(["a", "b", "c"])(**named)
    assert same_bits(found, evaluate(node, named))
    tensors = {name: torch.from_numpy(value) for name, value in named.items()}
    found = expression.function(["a", "b", "c"], TORCH)(**tensors)
    wanted = evaluate(node, tensors, TORCH_MEANING, lambda found: torch.as_tensor(found, dtype=torch.float64))
    assert type(found) is type(wanted)
    assert same_bits(found, wanted)
    assert expression.names == {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & {*"abc"}


def test_parts_without_names_are_computed_in_float64_beforehand():
    x = torch.ones(1, dtype=torch.float32)
    third = parse("x*(1/3)").function(["x"], TORCH)(x)
    assert third.dtype == torch.float32
    assert third.item() == np.float32(1 / 3)
    assert parse("2**0.5 + exp(1)").function([])() == np.power(2.0, 0.5) + np.exp(np.float64(1))
    assert parse("1/0").function([])() == np.inf
    assert np.isnan(parse("0/0").function([])())
    assert parse("x/n_pre").function(["x"], constants={"n_pre": 4.0})(3.0) == 0.75


# --- text from anywhere ----------------------------------------------------------------------------------------------

_EVENTS: list[str] | None = None
#: What the parser itself reports to the interpreter; ``exec`` belongs to `Expression.function`.
_HARMLESS = {"compile", "exec", "object.__getattr__", "sys._getframe", "array.__new__", "gc.get_objects"}


def _hook(event, arguments):
    if _EVENTS is not None and event not in _HARMLESS:
        _EVENTS.append(event)


sys.addaudithook(_hook)

TOKENS = (
    "a b w pre exp( int( clip( softmax( ( ) [ ] { } , . : ; = == := + - * ** / // % ^ @ & | ~ < > <= >= ! != and or "
    "not if else for in lambda xi rand() 1e999 1e-400 9999999999999 0x1F 1_0 1j 16 17 True None ... yield await "
    "import __import__ ('os').system('true') __class__ .__subclasses__() open('/etc/passwd') eval( exec( print(a) "
    "f'{a}' b'' # \\ \\x00 \n \t"
).split(" ")


def survives(text: str) -> None:
    """Parse, and compile and run what parses; nothing may happen but that."""
    global _EVENTS
    begin = time.process_time()
    _EVENTS = []
    try:
        expression = parse(text)
        function = expression.function(sorted(expression.names))
        with np.errstate(all="ignore"):
            value = function(*[np.ones(2)] * len(expression.names))
        assert np.asarray(value).dtype == np.float64
    except ExpressionError as error:
        assert str(error)
    finally:
        events, _EVENTS = _EVENTS, None
    assert not events
    assert time.process_time() - begin < 2


@QUICK
@given(st.text(max_size=300))
def test_any_unicode_is_parsed_or_refused(text):
    survives(text)


@QUICK
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join), st.lists(st.sampled_from(TOKENS), max_size=40))
def test_token_soup_is_parsed_or_refused(text, tokens):
    survives(text)
    survives(" ".join(tokens))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "a" + ")" * 900,
        "(" * 140 + "a" + ")" * 140,
        "-" * 1999 + "a",
        "-" * 149 + "a",
        "+" * 1999 + "a",
        "a" + "+a" * 999,
        "a" + "+a" * 149,
        "a" + "**a" * 666,
        "a**" * 149 + "a",
        "exp(" * 300 + "a" + ")" * 300,
        "exp(" * 140 + "a" + ")" * 140,
        "int(0<" * 250 + "a" + ")" * 250,
        "int(0<" * 74 + "a" + ")" * 74,
        "int(" + "not " * 400 + "a > 1)",
        "int(" + "not " * 140 + "a > 1)",
        "int(" + "a>b and " * 200 + "a>b)",
        "9" * 1999,
        "1e" + "9" * 1900,
        "9**9**9**9**9",
        "2**(9**9**9)",
        "a" * 2000,
        "[" * 2000,
        "a if " * 300,
        "lambda:" * 200,
        "not " * 500,
        "\x00",
        "\ud800",
        "a\u00b2",
        "\uff41 + b",
        "",
        "   ",
        "\\",
        "a\\\n+b",
        "#",
        "a # comment",
        "'a'",
    ],
)
def test_extreme_text_neither_hangs_nor_crashes(text):
    survives(text)


def test_the_deepest_formulas_that_are_accepted_compile_too():
    for text in ("-" * 150 + "a", "a" + "+a" * 150, "exp(" * 150 + "a" + ")" * 150, "int(0<" * 75 + "a" + ")" * 75):
        survives(text)
        parse(text)
    with pytest.raises(ExpressionError, match="nested more than 150 levels"):
        parse("a" + "+a" * 151)


def test_an_audit_event_would_be_seen():
    """The trap of `survives` works."""
    global _EVENTS
    _EVENTS = []
    try:
        open("/dev/null").close()
        assert _EVENTS == ["open"]
    finally:
        _EVENTS = None


# --- what is refused, and how ----------------------------------------------------------------------------------------

REFUSED = {
    "20*ms": "unit 'ms' is not allowed: all text is dimensionless, time in ms and voltage in mV",
    "v - 54*mV": "unit 'mV' is not allowed",
    "kilogram2*w": "unit 'kilogram2' is not allowed",
    "xi*sigma": "'xi' is not supported, read 'noise'",
    "rand()": "random functions are not supported, read 'noise'",
    "randn()*w": "random functions are not supported",
    "w//2": 'integer division "//" is not supported, use "/" instead',
    "w % 2": 'modulo "%" is not supported',
    "w^2": 'the operator "^" is not supported, use "**" instead',
    "int(w == 1)": "equality is not supported, use <, <=, > or >=",
    "int(w != 1)": "inequality is not supported, use <, <=, > or >=",
    "w**17": "literal exponents above 16 are not allowed",
    "w**-17": "literal exponents above 16 are not allowed",
    "w**(4*5)": "literal exponents above 16 are not allowed",
    "w**(0/0)": "literal exponents above 16 are not allowed",
    "w**2**5": "literal exponents above 16 are not allowed",
    "lambda*w": "'lambda' is a word of Python, write 'lam' instead",
    "lambda x: x": "'lambda' is a word of Python, write 'lam' instead",
    "int(0 < a < b)": "one comparison at a time: write a < b and b < c",
    "a < b": "a comparison stands inside int(...) only, such as int(a > b)",
    "exp(a > b)": "a comparison stands inside int(...) only",
    "a + (b and c)": "a comparison stands inside int(...) only",
    "not a": "a comparison stands inside int(...) only",
    "int(a)": "this is not a condition; use < <= > >= joined by and, or, not",
    "int(a, b)": "int takes one condition, such as int(a > b)",
    "int()": "int takes one condition",
    "exp(a, b)": "exp takes 1 argument(s), found 2",
    "exp(x=a)": "exp takes 1 argument(s), found 1",
    "clip(a, 1)": "clip takes 3 argument(s), found 2",
    "sigmoyd(a)": "unknown function 'sigmoyd' (did you mean 'sigmoid'?)",
    "softmax(a)": "unknown function 'softmax'",
    "__import__(a)": "unknown function '__import__'",
    "(a + b)(c)": "only a function by its name can be called",
    "a.b": "this is not in the grammar; allowed: + - * / **",
    "a, b": "this is not in the grammar",
    "a if a else b": "this is not in the grammar",
    "1j*a": "this is not in the grammar",
    "True": "this is not in the grammar",
    "_a": "'_a' is not a name; use letters, digits and single underscores",
    "a__b": "'a__b' is not a name",
    "a[0]": "the character '[' is not allowed",
    "'a'": 'the character "\'" is not allowed',
    "a & b": 'use "and" inside int(...)',
    "a | b": 'use "or" inside int(...)',
    "~a": 'use "not" inside int(...)',
    "a = b": "this is not a formula; allowed: + - * / **",
    "a +": "this is not a formula",
    "9" * 400: "this is not a formula",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_refused_by_name(text):
    with pytest.raises(ExpressionError) as found:
        parse(text, "rule 'r': dw")
    assert REFUSED[text] in str(found.value)
    assert str(found.value).startswith("rule 'r': dw, column ")


def test_the_column_is_that_of_the_mistake():
    with pytest.raises(ExpressionError, match=r"^rule 'r': dw, column 8 of \"eta \+ w\^2\""):
        parse("eta  +  w^2", "rule 'r': dw")  # white space is normalised first
    with pytest.raises(ExpressionError, match=r'^column 8 of "w - 20\*ms"'):
        parse("w - 20*ms")


def test_text_of_more_than_2000_characters_is_refused():
    text = "a" + " + a" * 100
    assert parse(text + " " * 3).names == {"a"}
    with pytest.raises(ExpressionError, match="dw has 2001 characters; at most 2000 are allowed"):
        parse("a".ljust(2001), "dw")
    with pytest.raises(ExpressionError, match="step has 2004 characters; at most 2000 are allowed"):
        parse_assignments("w=a\n" * 501, "step")


@pytest.mark.parametrize("text", [None, 3, b"a", ["a"]])
def test_text_must_be_text(text):
    with pytest.raises(ExpressionError, match=r"dw must be text such as .*, not (NoneType|int|bytes|list)"):
        parse(text, "dw")
    with pytest.raises(ExpressionError, match="step must be text such as"):
        parse_assignments(text, "step")


def test_a_condition_is_a_text_of_its_own():
    expression = parse("v > v_th and not (u < 1 or v <= 0)", condition=True)
    assert expression.names == {"v", "v_th", "u"}
    with pytest.raises(ExpressionError, match="this is not a condition"):
        parse("v - v_th", condition=True)


def test_population_functions_only_where_they_are_allowed():
    assert parse("softmax(drive)", functions={**FUNCTIONS, **POPULATION_FUNCTIONS}).calls == {"softmax"}
    x = np.array([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]])
    kept = parse("kwta(x, 2)", functions={**FUNCTIONS, **POPULATION_FUNCTIONS})
    assert kept.function(["x"])(x).tolist() == [[0, 3, 2], [0, 0, 5]]
    assert kept.function(["x"], TORCH)(torch.tensor(x)).tolist() == [[0, 3, 2], [0, 0, 5]]
    soft = parse("softmax(x)", functions={**FUNCTIONS, **POPULATION_FUNCTIONS})
    np.testing.assert_allclose(soft.function(["x"])(x), np.exp(x) / np.exp(x).sum(-1, keepdims=True), rtol=1e-15)
    np.testing.assert_allclose(soft.function(["x"], TORCH)(torch.tensor(x)), soft.function(["x"])(x), rtol=1e-14)


def test_assignments_are_ordered_and_extended_operators_mean_what_they_say():
    statements = parse_assignments("w += a*b\nelig = 0.9*elig; w -= a - b\n\n w *= a + b; w /= a + b", "step")
    assert [s.target for s in statements] == ["w", "elig", "w", "w", "w"]
    run = [s.expression.function(["w", "elig", "a", "b"])(12.0, 10.0, 5.0, 1.0) for s in statements]
    assert run == [17.0, 9.0, 8.0, 72.0, 2.0]


@pytest.mark.parametrize("text", ["w", "w == 1", "w **= 2", "w // 2", "= 3", "3 = w", "w.x = 1", "w, v = 1, 2", "w ="])
def test_what_is_not_an_assignment_is_refused(text):
    with pytest.raises(ExpressionError, match=r'write "name = formula"|is not a formula|in the grammar|is empty'):
        parse_assignments(text, "rule 'r': step")


def test_units_cover_those_of_brian2():
    namespace = pytest.importorskip("brian2.core.namespace")
    may_be_declared = set("A B C D m w x beta gamma rate".split())
    assert set(namespace.DEFAULT_UNITS) - UNITS == set()
    assert not UNITS & may_be_declared
    assert not UNITS & {"eta", "tau", "pre", "post", "decay", "elig", "theta", "alpha"}


# --- tensors ---------------------------------------------------------------------------------------------------------


def test_a_comparison_has_no_gradient():
    a = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    parse("3*int(a > b)*a + int(b >= 1)").function(["a", "b"], TORCH)(a, b).sum().backward()
    assert a.grad.tolist() == [0.0, 3.0]
    assert b.grad is None or b.grad.tolist() == [0.0, 0.0]


def test_a_spike_is_a_step_with_a_surrogate_gradient():
    x = torch.tensor([-1.0, -0.1, 0.0, 0.1, 2.0, np.inf, -np.inf], dtype=torch.float64, requires_grad=True)
    out = parse("spike(x)").function(["x"], TORCH)(x)
    assert out.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    assert out.detach().numpy().tolist() == parse("spike(x)").function(["x"])(x.detach().numpy()).tolist()
    out.sum().backward()
    torch.testing.assert_close(x.grad, 1 / (1 + 10 * x.detach().abs()) ** 2)


def test_vmap_over_a_compiled_function():
    text = "clip(eta*pre*post - int(w > 0 and not pre < 0)*w**2, -1, maximum(w, 0.5)) + minimum(0.3, softplus(w))"
    function = parse(text).function(["eta", "pre", "post", "w"], TORCH)
    pre, post, w = torch.randn(3, 5, 4, dtype=torch.float64)
    eta = torch.rand(5, dtype=torch.float64)
    mapped = torch.func.vmap(function)(eta, pre, post, w)
    looped = torch.stack([function(eta[i], pre[i], post[i], w[i]) for i in range(5)])
    torch.testing.assert_close(mapped, looped, rtol=1e-14, atol=1e-15)


def _each_function(name: str) -> str:
    return f"{name}({', '.join(['x', '0.25', '2'][: FUNCTIONS[name]])})*0.5 + 1/3"


@pytest.mark.parametrize("name", [*FUNCTIONS, "int"])
def test_the_number_format_is_that_of_the_variables(name):
    expression = parse("int(x > 0.25)*0.5 + 1/3" if name == "int" else _each_function(name))
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        x = torch.tensor([0.25, 0.5, 1.5], dtype=dtype)
        assert expression.function(["x"], TORCH)(x).dtype == dtype
    x32 = np.array([0.25, 0.5, 1.5], np.float32)
    assert expression.function(["x"])(x32).dtype == np.float32


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_and_torch_agree_on_every_function(name):
    function = parse(_each_function(name))
    x = np.linspace(0.05, 3, 60) if name in ("log", "sqrt") else np.linspace(-3, 3, 61)
    np.testing.assert_allclose(
        function.function(["x"], TORCH)(torch.tensor(x)), function.function(["x"])(x), rtol=1e-14
    )
    assert set(NUMPY) == set(TORCH) == {*FUNCTIONS, *POPULATION_FUNCTIONS, "int"}


def test_torch_may_load_its_own_modules_from_within_a_compiled_function():
    """Seen in a fresh interpreter: an empty table of builtins breaks the first call that loads a part of torch."""
    code = (
        "import numpy, torch, neurometa.expression as e; from neurometa.torch_engine.ops import TORCH\n"
        "a = torch.from_numpy(numpy.array([1.0, -1.0]))\n"
        "print(e.parse('int(a > 0 and not a > 2)*-a**2 + 1').function(['a'], TORCH)(a).tolist())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[0.0, 1.0]"


def test_importing_the_module_imports_no_torch():
    code = "import sys, neurometa.expression as e; e.parse('a*b').function(['a', 'b']); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
