"""The calculator: arithmetic on numbers of bounded size, and nothing else of Python.

Always holds: only numbers, operators and the functions named here are evaluated; no value grows past
`MOST_BITS`, since what could make one is looked at before it is computed. So an expression takes milliseconds at most.
"""

import ast
import math
import operator
from collections.abc import Callable

from app.services.providers.base import ToolSpec
from app.services.tools.arguments import faults_by
from app.services.tools.base import Arguments, Found, ToolFailed

LONGEST_EXPRESSION = 1_000
MOST_BITS = 4_096
LARGEST_FACTORIAL = 500
MOST_DIGITS_ROUNDED = 30
MOST_ARGUMENTS = 20

Number = int | float


class NotComputable(ToolFailed):
    """The expression is none, or its value is no number of a size that can be shown."""


def compute(expression: str) -> str:
    """The value of an expression such as `2 * (3 + sqrt(16))`; `^` is a power. Raise `NotComputable`."""
    if len(expression) > LONGEST_EXPRESSION:
        raise NotComputable(f"an expression has at most {LONGEST_EXPRESSION} characters")
    try:
        value = _value(ast.parse(expression.strip().replace("^", "**"), mode="eval").body)
    except SyntaxError:
        raise NotComputable("this is no arithmetic expression, such as 2 * (3 + sqrt(16))") from None
    except (ValueError, ArithmeticError, TypeError) as error:
        raise NotComputable(f"this has no value: {error}") from None
    except (RecursionError, MemoryError):
        raise NotComputable("the expression is nested too deeply") from None
    return str(value) if isinstance(value, int) else format(value, ".15g")


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _SIGNS:
            return _SIGNS[type(sign)](_value(operand))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            if len(args) > MOST_ARGUMENTS:
                raise NotComputable(f"a function takes at most {MOST_ARGUMENTS} arguments")
            return _bounded(_FUNCTIONS[name](*map(_value, args)))
    raise NotComputable(f"only numbers, + - * / // % ^ ( ), pi, e, tau and these functions: {', '.join(_FUNCTIONS)}")


def _bounded(value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotComputable("a part of this has no real number as its value")
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise NotComputable("a number here is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise NotComputable("a part of this is infinite or undefined")
    return value


def _power(base: Number, exponent: Number) -> Number:
    is_whole = isinstance(base, int) and isinstance(exponent, int)
    if is_whole and abs(base) > 1 and abs(exponent) * int(base).bit_length() > MOST_BITS:
        raise NotComputable("this power is too large")
    value: Number = base**exponent
    return value


def _factorial(number: Number) -> int:
    if not isinstance(number, int) or not 0 <= number <= LARGEST_FACTORIAL:
        raise NotComputable(f"factorial takes whole numbers from 0 to {LARGEST_FACTORIAL}")
    return math.factorial(number)


def _round(number: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > MOST_DIGITS_ROUNDED:
        raise NotComputable(f"round takes at most {MOST_DIGITS_ROUNDED} digits")
    return round(number, digits) if digits else round(number)


_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_SIGNS: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    **{name: getattr(math, name) for name in ("sqrt", "exp", "log", "log2", "log10", "hypot", "degrees", "radians")},
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")},
    **{name: getattr(math, name) for name in ("sinh", "cosh", "tanh", "floor", "ceil")},
    **{"abs": abs, "min": min, "max": max, "round": _round, "factorial": _factorial},
}


class Calculator:
    """Counts exactly, which language models do not."""

    name = "calculator"
    spec = ToolSpec(
        name,
        "Computes an arithmetic expression exactly. Use it for every calculation.",
        {
            "type": "object",
            "properties": {
                "expression": {
                    "type": "string",
                    "maxLength": LONGEST_EXPRESSION,
                    "description": "Such as 2 * (3 + sqrt(16)); numbers, + - * / // % ^ and functions.",
                }
            },
            "required": ["expression"],
            "additionalProperties": False,
        },
    )
    faults = staticmethod(faults_by(spec.parameters))

    async def call(self, arguments: Arguments) -> Found:
        return Found(compute(arguments["expression"]))
