"""Quantities as people write them: `4 Mbit/s`, `5 ms`, `1146 km`, `500 bytes`, `600 work/s`.

A quantity is a number, a space if you like, and a unit of its kind. The unit is never left out: a bare number does
not say whether it means bits or megabits. Every quantity is above 0 and finite. Inside, values are in SI: bit/s, s,
km, bytes, work/s (`SCALES` says what each unit is worth).
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Literal

Kind = Literal["capacity", "delay", "length", "bytes", "work", "compute", "tokens", "energy"]
MoneyKind = Literal["fee", "power", "upkeep", "value"]

SCALES: Mapping[Kind, Mapping[str, float]] = {
    "capacity": {"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9},
    "delay": {"us": 1e-6, "ms": 1e-3, "s": 1.0},
    "length": {"km": 1.0},
    "bytes": {"bytes": 1.0},
    "work": {"work/s": 1.0},
    "compute": {"work/s": 1.0, "kwork/s": 1e3, "Mwork/s": 1e6, "Gwork/s": 1e9},
    "tokens": {"token/s": 1.0, "ktoken/s": 1e3, "Mtoken/s": 1e6},
    "energy": {"J/work": 1.0},
}
"""Units of each kind, and what one of them is worth in the unit used inside; smallest first."""

EXAMPLES: Mapping[Kind, str] = {
    "capacity": "'4 Mbit/s', '250 kbit/s' or '1e6 bit/s'",
    "delay": "'1 s', '5 ms' or '200 us'",
    "length": "'1146 km'",
    "bytes": "'500 bytes'",
    "work": "'600 work/s'",
    "compute": "'4 Mwork/s' or '250 kwork/s'",
    "tokens": "'40 ktoken/s' or '1.5 Mtoken/s'",
    "energy": "'0.8 J/work'",
}

MONEY: Mapping[MoneyKind, Mapping[str, float]] = {
    "fee": {"GB": 1 / 8e9, "TB": 1 / 8e12, "bit": 1.0},
    "power": {"MWh": 1 / 3.6e9, "kWh": 1 / 3.6e6},
    "upkeep": {"Mwork": 1e-6, "Gwork": 1e-9, "work": 1.0},
    "value": {"Mtoken": 1e-6, "ktoken": 1e-3, "token": 1.0},
}
"""What prices are by, and how much of a currency a bit, J, work or token one of them is worth."""

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 4

_NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"


def shown(value: object) -> str:
    """What was found in a file, for a message: a line at most, whatever it is."""
    return "nothing" if value is None else _SHORT.repr(value)


def pattern(kind: Kind) -> str:
    """Regular expression of a quantity, for the JSON schema."""
    return rf"^({_NUMBER}) ?({'|'.join(SCALES[kind])})$"


def parse(text: object, kind: Kind) -> float:
    """Value of a quantity in the unit used inside.

    Raises
    ------
    ValueError
        When it is not text, has no unit or another kind's, or is not above 0 and finite.

    Examples
    --------
    >>> parse("4 Mbit/s", "capacity")
    4000000.0
    """
    match = re.match(pattern(kind), text) if isinstance(text, str) else None
    value = float(match[1]) * SCALES[kind][match[2]] if match else math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"found {shown(text)}; accepted: a number above 0 with its unit, {EXAMPLES[kind]}")
    return value


def money_pattern(kind: MoneyKind) -> str:
    """Regular expression of a price, for the JSON schema."""
    return rf"^({_NUMBER}) ?([A-Z]{{3}})/({'|'.join(MONEY[kind])})$"


def money_accepted(kind: MoneyKind) -> str:
    """What is accepted for a price."""
    shown = " or ".join(f"'20 USD/{unit}'" for unit in MONEY[kind])
    return f"a number above 0, a currency of three capitals and what it is by, such as {shown}"


def parse_money(text: object, kind: MoneyKind) -> tuple[float, str]:
    """A price in a currency by a bit (fee), J (power), work (upkeep) or token (value), and the currency.

    Raises
    ------
    ValueError
        When it is not text, has another unit, or is not above 0 and finite.

    Examples
    --------
    >>> parse_money("20 USD/Mtoken", "value")
    (2e-05, 'USD')
    """
    match = re.match(money_pattern(kind), text) if isinstance(text, str) else None
    value = float(match[1]) * MONEY[kind][match[3]] if match else math.nan
    if match is None or not (math.isfinite(value) and value > 0):
        raise ValueError(f"found {shown(text)}; accepted: {money_accepted(kind)}")
    return value, match[2]


def show(value: float, kind: Kind) -> str:
    """The shortest text that reads back as exactly this value.

    Examples
    --------
    >>> show(250000.0, "capacity")
    '250 kbit/s'
    """
    texts = [f"{value / scale:{digits}} {unit}" for unit, scale in SCALES[kind].items() for digits in (".12g", ".17g")]
    return min((text for text in texts if parse(text, kind) == value), key=lambda text: (len(text), text))


def show_money(value: float, currency: str, kind: MoneyKind) -> str | None:
    """The shortest text that reads back as exactly this price; None for what is free, or worth any price.

    Examples
    --------
    >>> show_money(2e-05, "USD", "value")
    '20 USD/Mtoken'
    """
    if not (math.isfinite(value) and value):
        return None
    texts = [
        f"{number:{digits}} {currency}/{unit}"
        for unit, scale in MONEY[kind].items()
        for number in (value / scale, math.nextafter(value / scale, 0.0), math.nextafter(value / scale, math.inf))
        for digits in (".12g", ".17g")
    ]
    return min((text for text in texts if parse_money(text, kind)[0] == value), key=lambda text: (len(text), text))
