"""Numbers on the command line."""

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A number in a range; no comparison ever finds NaN out of it."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        _refuse_other_digits(self, value, param, ctx)
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("nan is not in the range of numbers", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        _refuse_other_digits(self, value, param, ctx)
        return int(super().convert(value, param, ctx))


def _refuse_other_digits(
    kind: click.FloatRange | click.IntRange,
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> None:
    """Python reads the digits of every script; the API reads those of ASCII alone, and so do we."""
    if isinstance(value, str) and not value.isascii():
        kind.fail(f"{value!r} is not written in the digits 0 to 9", param, ctx)
