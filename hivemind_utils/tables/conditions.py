"""Conditions on the columns of a table, written as text: parsed, never evaluated.

The grammar is small on purpose, because a profile may come from a stranger: comparisons of a column with a literal,
columns of true and false, ``and``, ``or``, ``not`` and brackets. There are no calls, no attributes and no arithmetic.
"""

import ast
import difflib
import numbers
import operator

import numpy as np
import pandas as pd

MAX_CHARS = 1_000  # of a condition; a longer one is a mistake or an attack


_COMPARISONS = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


_GRAMMAR = (
    "Write comparisons such as `size_b < 10`, `family == 'Qwen'` or `family in ['Qwen', 'Gemma']`, "
    "joined by and, or, not."
)


def select(frame, condition):
    """Rows of a table that satisfy a condition.

    Parameters
    ----------
    frame : DataFrame
    condition : str
        Such as ``main25``, ``open_weights and size_b < 10`` or ``not (vendor == 'OpenAI' or vendor == 'Google')``.
        A missing value satisfies no comparison.

    Returns
    -------
    DataFrame
        In the frame's order, with its index.

    Raises
    ------
    ValueError
        If the text is no condition, or names a column that the frame lacks.

    Examples
    --------
    >>> models = pd.DataFrame({"model": ["a", "b"], "size_b": [7.0, 70.0]})
    >>> select(models, "size_b < 10")["model"].tolist()
    ['a']
    """
    if not isinstance(condition, str) or len(condition) > MAX_CHARS:
        raise ValueError(
            f"A condition must be a text of at most {MAX_CHARS} characters, but {condition!r:.80} was passed."
        )
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
        mask = _truth(tree, frame)
    except (SyntaxError, RecursionError, MemoryError, TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).split(" (<unknown>")[0] or "it is nested too deeply"
        raise ValueError(f"{condition!r:.200} is no condition on {list(frame)}: {reason}. {_GRAMMAR}") from None
    return frame[mask]


def _truth(node, frame):
    """Mask of the rows for which a node of the condition holds."""
    if isinstance(node, ast.BoolOp):
        parts = [_truth(value, frame) for value in node.values]
        return np.logical_and.reduce(parts) if isinstance(node.op, ast.And) else np.logical_or.reduce(parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        left, right = _truth(node.left, frame), _truth(node.right, frame)
        return left & right if isinstance(node.op, ast.BitAnd) else left | right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        return ~_truth(node.operand, frame)
    if isinstance(node, ast.Name):
        column = _column(node, frame)
        values = set(pd.unique(column.dropna()))
        if not values <= {True, False}:
            raise ValueError(f"column {node.id!r} is not one of true and false; compare it with something")
        return column.eq(True).fillna(False).to_numpy(dtype=bool)
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        steps = zip(sides[:-1], node.ops, sides[1:], strict=True)
        return np.logical_and.reduce([_comparison(left, op, right, frame) for left, op, right in steps])
    raise ValueError(f"{ast.unparse(node)!r:.60} is not allowed")


def _comparison(left, op, right, frame):
    if isinstance(op, ast.In | ast.NotIn):
        column = _column(left, frame)
        found = column.isin(_values(right))
        return (found if isinstance(op, ast.In) else column.notna() & ~found).to_numpy(dtype=bool)
    if type(op) not in _COMPARISONS:
        raise ValueError("only <, <=, >, >=, ==, !=, in and not in compare")
    a, b = (_column(side, frame) if isinstance(side, ast.Name) else _value(side) for side in (left, right))
    if not any(isinstance(side, pd.Series) for side in (a, b)):
        raise ValueError("a comparison must name a column")
    for side, column, value in ((left, a, b), (right, b, a)):
        if isinstance(column, pd.Series) and not isinstance(value, pd.Series):
            _same_kind(side.id, column, value)
    known = np.logical_and.reduce([side.notna().to_numpy() for side in (a, b) if isinstance(side, pd.Series)])
    result = np.zeros(len(frame), bool)
    a, b = (side[known] if isinstance(side, pd.Series) else side for side in (a, b))
    result[known] = np.asarray(_COMPARISONS[type(op)](a, b), dtype=bool)
    return result


def _column(node, frame):
    if not isinstance(node, ast.Name):
        raise ValueError(f"{ast.unparse(node)!r:.60} is no column")
    if node.id not in frame.columns:
        close = difflib.get_close_matches(node.id, [str(name) for name in frame.columns], n=1)
        raise ValueError(f"there is no column {node.id!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    return frame[node.id]


def _values(node):
    """Values of a list."""
    if not isinstance(node, ast.List | ast.Tuple):
        raise ValueError("`in` needs a list such as ['a', 'b']")
    return [_value(element) for element in node.elts]


def _value(node):
    """Value of a literal: text, a number that a column can hold, true or false."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        raise ValueError(f"{ast.unparse(node)!r:.60} is a list, and a list goes with `in`")
    try:
        value = ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node)!r:.60} is no number or text") from None
    if value is None:
        raise ValueError("None is nothing to compare with: a missing value satisfies no comparison")
    if not isinstance(value, str | bool | int | float):
        raise ValueError(f"{ast.unparse(node)!r:.60} is no number or text")
    if not isinstance(value, str) and not abs(value) < 2**63:
        raise ValueError(f"{ast.unparse(node)!r:.60} is too large a number")
    return value


def _same_kind(name, column, value):
    """Refuse text beside numbers and a number beside texts: one never equals the other."""
    kinds = {_kind(known) for known in pd.unique(column.dropna())}
    if kinds and kinds <= {"text", "a number"} and _kind(value) not in kinds:
        raise ValueError(
            f"Invalid comparison: column {name!r} holds {kinds.pop()}, but {value!r:.60} is {_kind(value)}"
        )


def _kind(value):
    if isinstance(value, str):
        return "text"
    return "a number" if isinstance(value, numbers.Number | np.bool_) else "something else"
