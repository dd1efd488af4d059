"""Equation text: one grammar, checked against a whitelist, compiled to one function for numpy or torch.

The text of a rule, a population, an efficacy or a sum is parsed once with Python's ``ast``. Every node that is not in
the grammar is refused, so text from a file or the command line cannot run code. What is left is written out again as
the body of one function whose operators and functions come from a table: `NUMPY` here, or the torch table of the
engine. The order of operations is the order of the text, so the function is bit-identical to the same formula
written by hand; only parts without a name (``1/3``, ``sqrt(n_pre)``) are computed beforehand, in float64.

This module imports no torch. sympy is not in the path: it reorders arithmetic.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import ExpressionError, unknown

__all__ = [
    "FUNCTIONS",
    "MAX_LENGTH",
    "NUMPY",
    "POPULATION_FUNCTIONS",
    "UNITS",
    "Assignment",
    "Expression",
    "parse",
    "parse_assignments",
]

MAX_LENGTH = 2000
MAX_DEPTH = 150
MAX_EXPONENT = 16

#: Function name -> number of arguments; allowed everywhere.
FUNCTIONS: Mapping[str, int] = {
    **dict.fromkeys(("exp", "log", "sqrt", "sin", "cos", "tanh", "arctan", "abs", "sign"), 1),
    **dict.fromkeys(("sigmoid", "softplus", "relu", "spike"), 1),
    **{"minimum": 2, "maximum": 2, "clip": 3},
}
#: Functions that mix the neurons of a population; allowed in population updates only.
POPULATION_FUNCTIONS: Mapping[str, int] = {"softmax": 1, "kwta": 2}

_UNIT_STEMS = (
    "metre meter gramme gram second amp ampere kelvin mole mol molar candle radian steradian hertz newton pascal joule "
    "watt coulomb volt farad ohm siemens weber tesla henry lumen lux becquerel gray sievert katal"
)
_UNIT_SHORT = (
    "mV mA uA nA pA pF uF nF nS uS mS ms us Hz kHz MHz cm cm2 cm3 mm mm2 mm3 um um2 um3 mM uM nM kg celsius "
    "kilogram kilogram2 kilogram3 kilogramme kilogramme2 kilogramme3"
)
#: Unit names that Brian2 would read as units: never names of anything here.
UNITS = frozenset(
    [p + stem + power for p in ("", *"yzafpnumkMGTPEZY") for stem in _UNIT_STEMS.split() for power in ("", "2", "3")]
    + [p + stem for p in ("", "da", *"yzafpnumcdhkMGTPEZY") for stem in ("liter", "litre")]
    + _UNIT_SHORT.split()
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_CHARACTER = re.compile(r"[^A-Za-z0-9_+\-*/().,<>=! \t\r\n]")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*([-+*/]?)=(?!=)(.+)\Z", re.DOTALL)
_OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARISONS: dict[type, str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ADVICE = {
    "^": 'the operator "^" is not supported, use "**" instead',
    "%": 'modulo "%" is not supported',
    "//": 'integer division "//" is not supported, use "/" instead',
    "==": "equality is not supported, use <, <=, > or >= inside int(...)",
    "!=": "inequality is not supported, use <, <=, > or >= inside int(...)",
    "&": 'the operator "&" is not supported, use "and" inside int(...)',
    "|": 'the operator "|" is not supported, use "or" inside int(...)',
    "~": 'the operator "~" is not supported, use "not" inside int(...)',
    "lambda": "'lambda' is a word of Python, write 'lam' instead",
    "xi": "'xi' is not supported, read 'noise' in a population's update instead",
    "rand": "random functions are not supported, read 'noise' in a population's update instead",
}
_GRAMMAR = "+ - * / **, numbers, names, functions and int(a > b)"


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _kwta(x: np.ndarray, k: float) -> np.ndarray:
    return np.where(x >= np.sort(x, -1)[..., -int(k), None], x, 0.0)


#: What each name of the grammar means in numpy.
NUMPY: Mapping[str, Callable[..., Any]] = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "arctan": np.arctan,
    "abs": np.abs,
    "sign": np.sign,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "relu": lambda x: np.maximum(x, 0.0),
    "spike": lambda x: np.asarray(x > 0, np.asarray(x).dtype),
    "minimum": np.minimum,
    "maximum": np.maximum,
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "softmax": _softmax,
    "kwta": _kwta,
    "int": lambda condition, like: np.asarray(condition, np.asarray(like).dtype),
}


@dataclass(frozen=True)
class Expression:
    """Checked text of one formula.

    Attributes
    ----------
    text : str
        The text, with white space normalised.
    names : frozenset of str
        Every variable that it reads.
    calls : frozenset of str
        Every function that it calls.
    """

    text: str
    names: frozenset[str]
    calls: frozenset[str]
    _node: ast.expr = field(repr=False, compare=False)

    def function(
        self,
        arguments: Sequence[str],
        table: Mapping[str, Callable[..., Any]] = NUMPY,
        constants: Mapping[str, float] | None = None,
    ) -> Callable[..., Any]:
        """Compile to a function of the named arguments, in that order.

        Parameters
        ----------
        arguments : sequence of str
            Names of the positional arguments; each a tensor or array of any broadcastable shape.
        table : mapping
            Function name -> implementation; `NUMPY`, or the torch engine's.
        constants : mapping of str to float, optional
            Names that are numbers (``dt``, ``n_pre``): folded into the function.

        Returns
        -------
        callable
            The compiled formula. A formula that reads no argument returns a float.

        Examples
        --------
        >>> float(parse("eta*pre*post - w/4").function(["eta", "pre", "post", "w"])(0.5, 2.0, 3.0, 4.0))
        2.0
        """
        body = _Writer(constants or {}).write(self._node)
        source = (
            f"def expression({', '.join(arguments)}):\n    return {body if isinstance(body, str) else _number(body)}"
        )
        scope: dict[str, Any] = {f"_{name}": implementation for name, implementation in table.items()}
        # The source holds nothing but what `_Writer` wrote from whitelisted nodes, and no name in it has two
        # underscores; torch itself needs the import function, for modules that it loads on first use.
        scope |= {"__builtins__": {"__import__": __import__}, "_inf": float("inf"), "_nan": float("nan")}
        exec(compile(source, f"<{self.text[:60]}>", "exec"), scope)
        return scope["expression"]


@dataclass(frozen=True)
class Assignment:
    """One ordered statement ``target = expression``."""

    target: str
    expression: Expression


def parse(
    text: str,
    where: str = "",
    functions: Mapping[str, int] = FUNCTIONS,
    condition: bool = False,
) -> Expression:
    """Check the text of one formula against the grammar.

    Parameters
    ----------
    text : str
        At most 2,000 characters. ``+ - * / **``, numbers, names, the given functions, and ``int(a > b)`` with
        ``and``, ``or``, ``not`` inside.
    where : str
        Whose text this is; put in front of every error message.
    functions : mapping of str to int
        Functions that may be called, with their number of arguments.
    condition : bool
        The text is a condition (a threshold) instead of a value.

    Returns
    -------
    Expression
        The checked text.

    Raises
    ------
    ExpressionError
        If the text is not in the grammar; the message gives the column and what is allowed.

    Examples
    --------
    >>> sorted(parse("eta*m*elig - decay*w").names)
    ['decay', 'elig', 'eta', 'm', 'w']
    >>> parse("w^2", "rule 'r': dw")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    neurometa.errors.ExpressionError: rule 'r': dw, column 2 of "w^2": the operator "^" is not supported, use "**" ...
    """
    if not isinstance(text, str):
        raise ExpressionError(f'{where or "expression"} must be text such as "eta*pre*post", not {type(text).__name__}')
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{where or 'expression'} has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    text = " ".join(text.split())
    checker = _Checker(text, where, functions)
    checker.characters()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = ast.parse(text, mode="eval").body
        (checker.condition if condition else checker.value)(node, 0)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, ExpressionError):
            raise
        column = getattr(error, "offset", None) or 1
        raise checker.error(column - 1, f"this is not a formula; allowed: {_GRAMMAR}") from None
    return Expression(text, frozenset(checker.names), frozenset(checker.calls), node)


def parse_assignments(text: str, where: str = "", functions: Mapping[str, int] = FUNCTIONS) -> tuple[Assignment, ...]:
    """Check ordered statements ``name = formula``, one a line or separated by ``;`` (``+= -= *= /=`` are allowed).

    Returns
    -------
    tuple of Assignment
        In the order of the text.

    Raises
    ------
    ExpressionError
        If a line is not an assignment, or its formula is not in the grammar.

    Examples
    --------
    >>> [(a.target, a.expression.text) for a in parse_assignments("w += m*elig; elig = 0.9*elig")]
    [('w', 'w + (m*elig)'), ('elig', '0.9*elig')]
    """
    if not isinstance(text, str):
        raise ExpressionError(f'{where or "text"} must be text such as "w = w + eta", not {type(text).__name__}')
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{where or 'text'} has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    assignments = []
    for line in filter(str.strip, re.split(r"[;\n]", text)):
        match = _ASSIGNMENT.match(line)
        if not match:
            raise ExpressionError(f'{where or "text"}: "{line.strip()}" is not an assignment; write "name = formula"')
        target, operator, formula = match.groups()
        expression = parse(formula, where, functions)
        if operator:
            expression = parse(f"{target} {operator} ({expression.text})", where, functions)
        assignments.append(Assignment(target, expression))
    return tuple(assignments)


class _Checker:
    """Walks the tree and refuses every node that is not in the grammar."""

    def __init__(self, text: str, where: str, functions: Mapping[str, int]):
        self.text, self.where, self.functions = text, where, functions
        self.names: set[str] = set()
        self.calls: set[str] = set()

    def error(self, column: int, message: str) -> ExpressionError:
        shown = self.text if len(self.text) <= 100 else self.text[:97] + "..."
        place = f'column {column + 1} of "{shown}"'
        return ExpressionError(f"{self.where + ', ' if self.where else ''}{place}: {message}")

    def characters(self) -> None:
        if not self.text:
            raise ExpressionError(f"{self.where or 'expression'} is empty; allowed: {_GRAMMAR}")
        for symbol in ("//", "==", "!="):
            if symbol in self.text:
                raise self.error(self.text.index(symbol), _ADVICE[symbol])
        bad = _CHARACTER.search(self.text)
        if bad and not re.search(r"\blambda\b", self.text):
            advice = _ADVICE.get(bad.group(), f"the character {bad.group()!r} is not allowed; allowed: {_GRAMMAR}")
            raise self.error(bad.start(), advice)
        word = re.search(r"\blambda\b", self.text)
        if word:
            raise self.error(word.start(), _ADVICE["lambda"])

    def value(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self.error(node.col_offset, f"the formula is nested more than {MAX_DEPTH} levels deep")
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            float(node.value)  # an integer too large for a float is an OverflowError
        elif isinstance(node, ast.Name):
            self.name(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            self.value(node.operand, depth + 1)
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            self.value(node.left, depth + 1)
            self.value(node.right, depth + 1)
            if isinstance(node.op, ast.Pow):
                self.exponent(node.right)
        elif isinstance(node, ast.Call):
            self.call(node, depth)
        elif isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise self.error(node.col_offset, "a comparison stands inside int(...) only, such as int(a > b)")
        else:
            raise self.error(node.col_offset, f"this is not in the grammar; allowed: {_GRAMMAR}")

    def name(self, node: ast.Name) -> None:
        if node.id == "xi":
            raise self.error(node.col_offset, _ADVICE["xi"])
        if node.id in UNITS:
            message = f"unit '{node.id}' is not allowed: all text is dimensionless, time in ms and voltage in mV"
            raise self.error(node.col_offset, message)
        if not _NAME.match(node.id) or "__" in node.id:
            raise self.error(node.col_offset, f"'{node.id}' is not a name; use letters, digits and single underscores")
        self.names.add(node.id)

    def exponent(self, node: ast.expr) -> None:
        power = _Writer({}).write(node)
        if not isinstance(power, str) and not abs(power) <= MAX_EXPONENT:
            raise self.error(node.col_offset, f"literal exponents above {MAX_EXPONENT} are not allowed")

    def call(self, node: ast.Call, depth: int) -> None:
        if not isinstance(node.func, ast.Name):
            raise self.error(node.col_offset, f"only a function by its name can be called; allowed: {_GRAMMAR}")
        name = node.func.id
        if name == "int":
            if len(node.args) != 1 or node.keywords:
                raise self.error(node.col_offset, "int takes one condition, such as int(a > b)")
            self.condition(node.args[0], depth + 1)
            return
        if name in ("rand", "randn", "random", "poisson", "binomial"):
            raise self.error(node.col_offset, _ADVICE["rand"])
        if name not in self.functions:
            raise self.error(node.col_offset, unknown("function", name, [*self.functions, "int"]))
        if node.keywords or len(node.args) != self.functions[name]:
            found = len(node.args) + len(node.keywords)
            raise self.error(node.col_offset, f"{name} takes {self.functions[name]} argument(s), found {found}")
        self.calls.add(name)
        for argument in node.args:
            self.value(argument, depth + 1)

    def condition(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self.error(node.col_offset, f"the formula is nested more than {MAX_DEPTH} levels deep")
        if isinstance(node, ast.BoolOp):
            for part in node.values:
                self.condition(part, depth + 1)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, depth + 1)
        elif isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
            if len(node.ops) != 1:
                raise self.error(node.col_offset, "one comparison at a time: write a < b and b < c")
            self.value(node.left, depth + 1)
            self.value(node.comparators[0], depth + 1)
        else:
            raise self.error(node.col_offset, "this is not a condition; use < <= > >= joined by and, or, not")


def _number(value: float) -> str:
    if np.isnan(value):
        return "_nan"
    if np.isinf(value):
        return "_inf" if value > 0 else "(-_inf)"
    return f"({value!r})" if np.signbit(value) else repr(value)


class _Writer:
    """Writes a checked tree as source; parts without a name become one float64 number."""

    def __init__(self, constants: Mapping[str, float]):
        self.constants = constants

    def write(self, node: ast.expr) -> str | float:
        """Return source text, or the number that the node always is."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.Name):
            return float(self.constants[node.id]) if node.id in self.constants else node.id
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.UAdd):
                return self.write(node.operand)
            inner = self.write(node.operand)
            return f"(-{inner})" if isinstance(inner, str) else -inner
        if isinstance(node, ast.BinOp):
            return self.binary(_OPERATORS[type(node.op)], self.write(node.left), self.write(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "int":
                return self.step(node.args[0])
            return self.call(node.func.id, [self.write(argument) for argument in node.args])
        raise TypeError(f"unchecked node {type(node).__name__}")

    def binary(self, operator: str, left: str | float, right: str | float) -> str | float:
        if isinstance(left, str) or isinstance(right, str):
            return f"({self.source(left)} {operator} {self.source(right)})"
        a, b = np.float64(left), np.float64(right)
        with np.errstate(all="ignore"):
            value = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}[operator](a, b)
        return float(value)

    def call(self, name: str, arguments: list[str | float]) -> str | float:
        if name in NUMPY and name not in POPULATION_FUNCTIONS and not any(isinstance(a, str) for a in arguments):
            with np.errstate(all="ignore"):
                return float(NUMPY[name](*(np.float64(a) for a in arguments)))
        return f"_{name}({', '.join(map(self.source, arguments))})"

    def step(self, node: ast.expr) -> str | float:
        condition = self.condition(node)
        if isinstance(condition, bool):
            return float(condition)
        like = next(
            n.id
            for n in ast.walk(node)
            if isinstance(n, ast.Name) and n.id not in self.constants and not _is_function(n, node)
        )
        return f"_int({condition}, {like})"

    def condition(self, node: ast.expr) -> str | bool:
        """Return source of a boolean array, or the truth value that the node always has."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(part) for part in node.values]
            either = isinstance(node.op, ast.Or)
            if any(isinstance(part, str) for part in parts):
                return f"({(' | ' if either else ' & ').join(map(str, parts))})"
            return any(parts) if either else all(parts)
        if isinstance(node, ast.UnaryOp):
            inner = self.condition(node.operand)
            return f"(~{inner})" if isinstance(inner, str) else not inner
        assert isinstance(node, ast.Compare)
        left, right = self.write(node.left), self.write(node.comparators[0])
        operator = _COMPARISONS[type(node.ops[0])]
        if isinstance(left, str) or isinstance(right, str):
            return f"({self.source(left)} {operator} {self.source(right)})"
        return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator])

    @staticmethod
    def source(value: str | float) -> str:
        return value if isinstance(value, str) else _number(value)


def _is_function(name: ast.Name, root: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and n.func is name for n in ast.walk(root))
