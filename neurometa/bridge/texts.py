"""Brian2's text as ours: units become numbers, names that we reserve are renamed, statements stay in order."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import SpecificationError
from ..expression import FUNCTIONS
from ..spec.base import check_name
from ..spec.rule import is_modulator

__all__ = ["Renamed", "Statement", "convert", "number", "read", "statements", "substitute"]

#: What a name stands for in our text.
Resolve = Callable[[str], ast.expr]
_OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


class Statement(NamedTuple):
    """One line of code: ``target = text`` or, with an operator, ``target operator= text``; still in Brian2's words."""

    target: str
    operator: str
    text: str


class Renamed(dict[str, str]):
    """Brian2's names -> ours, each allowed and used once; those that had to change are in ``changed``."""

    def __init__(self, taken: Iterable[str] = ()):
        super().__init__()
        self._taken = set(taken)

    def __missing__(self, name: str) -> str:
        stem = name.strip("_")
        while "__" in stem:
            stem = stem.replace("__", "_")
        for side in ("pre", "post"):
            if stem.endswith(f"_{side}"):
                stem = f"{side}_{stem.removesuffix(f'_{side}')}"  # tau_pre -> pre_tau
        found, k = stem, 1
        while not self._allowed(found):
            found, k = f"{'var_' if is_modulator(stem) else ''}{stem}_{'var' if k == 1 else f'var{k}'}", k + 1
        self._taken.add(found)
        self[name] = found
        return found

    def _allowed(self, name: str) -> bool:
        try:
            check_name(name, "", frozenset(self._taken))
        except SpecificationError:
            return False
        return not is_modulator(name)

    @property
    def changed(self) -> dict[str, str]:
        """Names that are not the same here."""
        return {old: new for old, new in self.items() if old != new}


def number(value: float) -> ast.expr:
    """Return a number as a node of a formula."""
    node = ast.Constant(abs(float(value)))
    return ast.UnaryOp(ast.USub(), node) if value < 0 else node


def _value(node: ast.expr) -> float | None:
    """Return the number that a node is, None if it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand)
        return None if inner is None else -inner
    return None


class _Convert(ast.NodeTransformer):
    def __init__(self, resolve: Resolve, where: str, units: Callable[[str], bool]):
        self.resolve, self.where, self.units = resolve, where, units

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.resolve(node.id)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = ast.unparse(node.func)
        if name not in FUNCTIONS and name != "int":
            allowed = ", ".join([*(f for f in FUNCTIONS if f != "spike"), "int"])
            raise SpecificationError(
                f"{self.where} calls '{name}', which has no counterpart here; allowed: {allowed}"
                + ("; feed random spikes from an input group instead" if name.startswith(("rand", "poisson")) else "")
            )
        return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        has_unit = any(isinstance(n, ast.Name) and self.units(n.id) for n in ast.walk(node))
        left, right = self.visit(node.left), self.visit(node.right)
        a, b = _value(left), _value(right)
        if has_unit and a is not None and b is not None and isinstance(node.op, ast.Mult | ast.Div | ast.Pow):
            value = a * b if isinstance(node.op, ast.Mult) else a / b if isinstance(node.op, ast.Div) else a**b
            return number(float(f"{value:.15g}"))  # 20*ms -> 20.0
        if b == 1.0 and has_unit and isinstance(node.right, ast.Name) and isinstance(node.op, ast.Mult | ast.Div):
            return left  # v/mV -> v
        return ast.BinOp(left, node.op, right)


def convert(text: str, resolve: Resolve, where: str, units: Callable[[str], bool] = lambda name: False) -> str:
    """Return a formula in our words.

    Parameters
    ----------
    text : str
        Brian2's formula.
    resolve : callable
        Name -> node that takes its place.
    where : str
        Whose text this is, for messages.
    units : callable
        Whether a name is a unit: then a product of numbers and units becomes one number.

    Raises
    ------
    SpecificationError
        If it is no formula, or calls a function that we lack.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise SpecificationError(f'{where}: "{text}" is not a formula') from None
    return ast.unparse(ast.fix_missing_locations(_Convert(resolve, where, units).visit(tree)))


def substitute(text: str, values: dict[str, str]) -> str:
    """Return one of our formulas with names replaced by formulas."""
    return convert(
        text, lambda name: ast.parse(values[name], mode="eval").body if name in values else ast.Name(name), ""
    )


def read(text: str) -> set[str]:
    """Return the names that a formula reads."""
    tree = ast.parse(text, mode="eval")
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}


def statements(code: Any, where: str) -> list[Statement]:
    """Return the statements of Brian2 code, in order.

    Raises
    ------
    SpecificationError
        If the code holds anything else than assignments to names.
    """
    found = []
    try:  # the lines of a text in triple quotes may be indented unlike each other
        body = ast.parse("\n".join(line.strip() for line in str(code or "").splitlines())).body
    except SyntaxError:
        raise SpecificationError(f'{where}: "{" ".join(str(code).split())}" cannot be read') from None
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.append(Statement(node.targets[0].id, "", ast.unparse(node.value)))
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and type(node.op) in _OPERATORS:
            found.append(Statement(node.target.id, _OPERATORS[type(node.op)], ast.unparse(node.value)))
        else:
            raise SpecificationError(
                f'{where}: "{ast.unparse(node)}" is not an assignment; allowed: name = formula, and += -= *= /='
            )
    return found
