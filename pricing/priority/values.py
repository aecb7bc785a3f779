"""What a service is worth to its user: increasing, strictly concave functions V of the rate X at which it is used.

    Quadratic    V = a X - b X^2/2            marginal a - b X
    Log          V = a log(1 + X/s)           a/(s + X)
    Isoelastic   V = a X^(1-1/e)/(1-1/e)      a X^(-1/e), e > 1 the elasticity of demand
    Table        points (X, V), joined by quadratics that keep them concave

V is in currency/s, X in programs/s, so the marginal value is currency a program, what one more is worth: the demand
curve of Kim and Juhn, Fig. 1. Demand X(c) is where the marginal value falls to the cost c, and 0 where it starts below.
Numbers in, numbers out; `checked` looks at a function of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from pricing.errors import WardropError
from pricing.values import FloatArray


class Value(Protocol):
    """What the solvers ask of a user's value; all for X >= 0."""

    def value(self, rate: float) -> float:
        """V(X), currency/s; V(0) = 0."""

    def marginal(self, rate: float) -> float:
        """V'(X), currency a program; may be infinite at 0."""

    def bend(self, rate: float) -> float:
        """V''(X), below 0."""

    def demand(self, cost: float) -> float:
        """The X at which V'(X) is `cost`; 0 where V'(0) is not above it, infinite where V' never falls to it."""


def _positive(what: str, **numbers: float) -> None:
    """Refuse what is not finite and above 0, all at once."""
    wrong = [f"{name} = {x:g}" for name, x in numbers.items() if not (np.isfinite(x) and x > 0)]
    if wrong:
        raise WardropError(f"{what}: {', '.join(wrong)}; finite numbers above 0 are accepted")


@dataclass(frozen=True)
class Quadratic:
    """V = a X - b X^2/2, on after its peak too: nobody goes there at a cost from 0."""

    a: float
    b: float

    def __post_init__(self) -> None:
        _positive("quadratic value", a=self.a, b=self.b)

    def value(self, rate: float) -> float:
        """V(X)."""
        return self.a * rate - self.b * rate**2 / 2

    def marginal(self, rate: float) -> float:
        """a - b X."""
        return self.a - self.b * rate

    def bend(self, rate: float) -> float:  # noqa: ARG002 a parabola bends the same everywhere
        """-b."""
        return -self.b

    def demand(self, cost: float) -> float:
        """(a - c)/b."""
        return max(0.0, (self.a - cost) / self.b)


@dataclass(frozen=True)
class Log:
    """V = a log(1 + X/s): each further unit of X/s is worth less, and none is worth nothing."""

    a: float
    s: float

    def __post_init__(self) -> None:
        _positive("log value", a=self.a, s=self.s)

    def value(self, rate: float) -> float:
        """V(X)."""
        return self.a * float(np.log1p(rate / self.s))

    def marginal(self, rate: float) -> float:
        """a/(s + X)."""
        return self.a / (self.s + rate)

    def bend(self, rate: float) -> float:
        """-a/(s + X)^2."""
        return -self.a / (self.s + rate) ** 2

    def demand(self, cost: float) -> float:
        """a/c - s."""
        return max(0.0, self.a / cost - self.s) if cost > 0 else float("inf")


@dataclass(frozen=True)
class Isoelastic:
    """V = a X^(1-1/e)/(1-1/e): demand falls by e per cent for each per cent of cost, and never to 0."""

    a: float
    e: float

    def __post_init__(self) -> None:
        _positive("isoelastic value", a=self.a, e=self.e)
        if self.e <= 1:
            raise WardropError(
                f"isoelastic value: e = {self.e:g}; an elasticity above 1 is accepted, with less V(0) is not finite"
            )

    def value(self, rate: float) -> float:
        """V(X)."""
        power = 1 - 1 / self.e
        return float(self.a * rate**power / power)

    def marginal(self, rate: float) -> float:
        """a X^(-1/e)."""
        return float(self.a * rate ** (-1 / self.e)) if rate > 0 else float("inf")

    def bend(self, rate: float) -> float:
        """V'' = -V'/(e X)."""
        return -self.marginal(rate) / (self.e * rate) if rate > 0 else float("-inf")

    def demand(self, cost: float) -> float:
        """(a/c)^e."""
        return float((self.a / cost) ** self.e) if cost > 0 else float("inf")


@dataclass(frozen=True)
class Table:
    """A marginal value that is straight between knots; `table` makes one from points of V.

    Parameters
    ----------
    rates : array of shape (n,)
        0 first, ascending, two or more.
    marginals : array of shape (n,)
        V' there, strictly falling. After the last knot it falls on as it did before.
    """

    rates: FloatArray
    marginals: FloatArray

    def _slopes(self) -> FloatArray:
        return np.asarray(np.diff(self.marginals) / np.diff(self.rates))

    def _piece(self, rate: float) -> int:
        return int(np.clip(np.searchsorted(self.rates, rate, side="right") - 1, 0, len(self.rates) - 2))

    def value(self, rate: float) -> float:
        """V(X): trapezes of V'."""
        i = self._piece(rate)
        whole = np.diff(self.rates[: i + 1]) @ (self.marginals[:i] + self.marginals[1 : i + 1]) / 2
        return float(whole + (rate - self.rates[i]) * (self.marginals[i] + self.marginal(rate)) / 2)

    def marginal(self, rate: float) -> float:
        """V'(X)."""
        i = self._piece(rate)
        return float(self.marginals[i] + self._slopes()[i] * (rate - self.rates[i]))

    def bend(self, rate: float) -> float:
        """V''(X), the slope to the right at a knot."""
        return float(self._slopes()[self._piece(rate)])

    def demand(self, cost: float) -> float:
        """The X with V'(X) = cost."""
        if cost >= self.marginals[0]:
            return 0.0
        i = int(np.clip(np.searchsorted(-self.marginals, -cost, side="right") - 1, 0, len(self.rates) - 2))
        return float(self.rates[i] + (cost - self.marginals[i]) / self._slopes()[i])


def table(rates: ArrayLike, values: ArrayLike) -> Table:
    """A value through points (X, V) of shape (n,) each; (0, 0) is put in front where it is missing.

    Raises
    ------
    WardropError
        When the points are not those of an increasing and strictly concave function; names the first that is wrong.

    Notes
    -----
    Slopes at the points are the means of the chords beside them; each piece is two parabolas that meet where the slope
    is the chord's, the middle of where they are concave. L. L. Schumaker, On shape preserving quadratic spline
    interpolation (1983).

    Examples
    --------
    >>> worth = table([1.0, 2.0, 4.0], [10.0, 16.0, 20.0])
    >>> worth.value(2.0), worth.demand(worth.marginal(1.7))
    (16.0, 1.7)
    """
    x, v = np.asarray(rates, dtype=float), np.asarray(values, dtype=float)
    if x.ndim != 1 or x.shape != v.shape or not np.isfinite(x).all() or not np.isfinite(v).all() or (x < 0).any():
        raise WardropError("table of values: as many values as rates, all finite and no rate below 0, are accepted")
    order = np.argsort(x, kind="stable")
    x, v = x[order], v[order]
    if not x.size or x[0] > 0:
        x, v = np.append(0.0, x), np.append(0.0, v)
    if len(x) < 3 or v[0] != 0 or (np.diff(x) == 0).any():
        raise WardropError("table of values: two or more points beside V(0) = 0, each rate once, are accepted")
    chords = np.diff(v) / np.diff(x)
    for i, chord in enumerate(chords):
        if chord <= 0:
            raise WardropError(
                f"table of values: V does not grow towards X = {x[i + 1]:g}; an increasing V is accepted"
            )
        if i and chord >= chords[i - 1] * (1 - 1e-12):
            raise WardropError(
                f"table of values: not strictly concave at X = {x[i]:g}: the marginal value goes from "
                f"{chords[i - 1]:g} to {chord:g} there; one that falls at every point is accepted"
            )
    slopes = np.concatenate([[0.0], (chords[1:] + chords[:-1]) / 2, [0.0]])
    slopes[0], slopes[-1] = 2 * chords[0] - slopes[1], max(2 * chords[-1] - slopes[-2], chords[-1] / 2)
    before, after = slopes[:-1] - chords, chords - slopes[1:]
    meet = x[:-1] + np.diff(x) * after / (before + after)  # where the slope is the chord's
    knots, marginals = np.append(x, meet), np.append(slopes, chords)
    order = np.argsort(knots)
    return Table(knots[order], marginals[order])


def value_of(law: Mapping[str, Any]) -> Value:
    """The value that a mapping says: `law` and its numbers, as in `{"law": "quadratic", "a": 4, "b": 0.01}`.

    Raises
    ------
    WardropError
        When there is no such law, its numbers are others, or it is not concave.
    """
    numbers = {name: number for name, number in law.items() if name != "law"}
    wanted = LAWS.get(str(law.get("law")))
    if wanted is None or numbers.keys() != set(wanted[1]):
        accepted = "; ".join(f"{name} with {', '.join(needs)}" for name, (_, needs) in LAWS.items())
        raise WardropError(f"value {dict(law)}: {accepted} are accepted")
    value: Value = wanted[0](**numbers)
    return value


def multiplied(law: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The law of a value that is `factor` times as high at every rate.

    >>> multiplied({"law": "log", "a": 3.0, "s": 0.5}, 2.0)
    {'law': 'log', 'a': 6.0, 's': 0.5}
    """
    found = dict(law)
    for name in IN_CURRENCY[law["law"]]:
        found[name] = (factor * np.asarray(law[name])).tolist()
    return found


LAWS: Mapping[str, tuple[Callable[..., Value], tuple[str, ...]]] = {
    "quadratic": (Quadratic, ("a", "b")),
    "log": (Log, ("a", "s")),
    "isoelastic": (Isoelastic, ("a", "e")),
    "table": (table, ("rates", "values")),
}
"""Values by name, each with its numbers."""

IN_CURRENCY: Mapping[str, tuple[str, ...]] = {
    "quadratic": ("a", "b"),
    "log": ("a",),
    "isoelastic": ("a",),
    "table": ("values",),
}
"""Which of its numbers a value is proportional to."""


def checked(value: Value, largest: float, what: str = "value") -> Value:
    """Your own value function, when it does as one must from 0 to `largest`; it comes back as it is.

    Raises
    ------
    WardropError
        When V falls short of a strictly concave function or its parts do not fit each other; names the first X.

    Notes
    -----
    Looks at 400 rates. Of a concave V, V(b) - V(a) lies between V'(b) (b - a) and V'(a) (b - a).
    """
    x = np.linspace(0, largest, 401)[1:]
    v, m, b = (np.array([getattr(value, part)(float(r)) for r in x]) for part in ("value", "marginal", "bend"))
    back = np.array([value.demand(float(c)) if c > 0 else r for r, c in zip(x, m, strict=True)])
    grown, step = np.diff(v), np.diff(x)
    slack = 1e-9 * np.abs(v[1:]) + 1e-9 * np.abs(m[1:]) * step
    for wrong, said in (
        (~np.isfinite(v + m + b), "V, V' or V'' is not finite"),
        (
            np.append(False, m[1:] >= m[:-1]) | (b >= 0),
            "not strictly concave: the marginal value does not fall",
        ),
        (
            np.append(False, (grown < m[1:] * step - slack) | (grown > m[:-1] * step + slack)),
            "V does not grow by its marginal value",
        ),
        (np.abs(back - x) > 1e-6 * largest, "the demand at the marginal value is another rate"),
    ):
        if wrong.any():
            raise WardropError(
                f"{what} at X = {x[int(np.argmax(wrong))]:g}: {said}; an increasing, strictly concave V with its own "
                "derivatives and demand is accepted"
            )
    return value
