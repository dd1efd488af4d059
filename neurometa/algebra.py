"""What can be said about a formula from its text alone: its linear parts, and how far a condition is from turning."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping

from .errors import ExpressionError
from .expression import FUNCTIONS, Expression, parse

__all__ = ["linear", "margin"]

#: Variable -> its factor; under the empty name, what does not depend on any.
Parts = dict[str, ast.expr]


def linear(
    expression: Expression,
    variables: Collection[str],
    where: str = "",
    functions: Mapping[str, int] = FUNCTIONS,
) -> tuple[dict[str, Expression], Expression]:
    """Split a formula into ``sum of factor*variable`` and a rest.

    Parameters
    ----------
    expression : Expression
        The formula.
    variables : collection of str
        In which it has to be linear.
    where : str
        Whose text this is; put in front of the error message.
    functions : mapping of str to int
        As for `parse`.

    Returns
    -------
    factors : dict of str to Expression
        Variable -> formula without any of the variables; those that do not occur are absent.
    rest : Expression
        The formula where all variables are 0.

    Raises
    ------
    ExpressionError
        If the formula is not linear in the variables.

    Examples
    --------
    >>> factors, rest = linear(parse("(e_l - v + r*g)/tau"), ["v", "g"])
    >>> {name: factor.text for name, factor in factors.items()}, rest.text
    ({'v': '-1.0 / tau', 'g': 'r / tau'}, 'e_l / tau')
    """
    parts = _parts(expression._node, frozenset(variables))
    if parts is None:
        names = ", ".join(sorted(expression.names & set(variables)))
        raise ExpressionError(
            f'{where or "formula"}: "{expression.text}" is not linear in {names}, which method "exact" needs; '
            'use method "euler"'
        )
    rest = parts.pop("", ast.Constant(0.0))
    return (
        {name: parse(ast.unparse(factor), where, functions) for name, factor in parts.items()},
        parse(ast.unparse(rest), where, functions),
    )


def _parts(node: ast.expr, variables: frozenset[str]) -> Parts | None:
    """Return the parts of a checked tree, None where it is not linear."""
    if not any(isinstance(n, ast.Name) and n.id in variables for n in ast.walk(node)):
        return {"": node}
    if isinstance(node, ast.Name):
        return {node.id: ast.Constant(1.0)}
    if isinstance(node, ast.UnaryOp):
        inner = _parts(node.operand, variables)
        if inner is None or isinstance(node.op, ast.UAdd):
            return inner
        return {name: _minus(part) for name, part in inner.items()}
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _parts(node.left, variables), _parts(node.right, variables)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Add | ast.Sub):
        found = dict(left)
        for name, part in right.items():
            if name in found:
                found[name] = ast.BinOp(found[name], node.op, part)
            else:
                found[name] = part if isinstance(node.op, ast.Add) else _minus(part)
        return found
    if isinstance(node.op, ast.Mult) and set(left) == {""}:
        return {name: _product(node.left, part) for name, part in right.items()}
    if isinstance(node.op, ast.Mult) and set(right) == {""}:
        return {name: _product(part, node.right) for name, part in left.items()}
    if isinstance(node.op, ast.Div) and set(right) == {""}:
        return {name: ast.BinOp(part, ast.Div(), node.right) for name, part in left.items()}
    return None


def _minus(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Constant):
        return ast.Constant(-node.value)  # type: ignore[operator]
    return ast.UnaryOp(ast.USub(), node)


def _product(left: ast.expr, right: ast.expr) -> ast.expr:
    one = [isinstance(part, ast.Constant) and part.value == 1.0 for part in (left, right)]
    return right if one[0] else left if one[1] else ast.BinOp(left, ast.Mult(), right)


def margin(condition: Expression) -> Expression:
    """Return a formula that is above 0 where a condition holds and below 0 where it does not.

    Parameters
    ----------
    condition : Expression
        Parsed with ``condition=True``.

    Returns
    -------
    Expression
        ``a - b`` for ``a > b``, the smaller of both for ``and``, the larger for ``or``, with the other sign for
        ``not``.

    Examples
    --------
    >>> margin(parse("v > v_th and v > 0", condition=True)).text
    'minimum(v - v_th, v - 0)'
    """
    return parse(ast.unparse(_margin(condition._node)))


def _margin(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.BoolOp):
        name = ast.Name("minimum" if isinstance(node.op, ast.And) else "maximum")
        found = _margin(node.values[0])
        for part in node.values[1:]:
            found = ast.Call(name, [found, _margin(part)], [])
        return found
    if isinstance(node, ast.UnaryOp):
        return _minus(_margin(node.operand))
    assert isinstance(node, ast.Compare)
    sides = [node.left, node.comparators[0]]
    if isinstance(node.ops[0], ast.Lt | ast.LtE):
        sides.reverse()
    return ast.BinOp(sides[0], ast.Sub(), sides[1])
