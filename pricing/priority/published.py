"""What machines publish, as a value; `pricing.priority.publish` makes it, and who only passes it on needs no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pricing.network import Allocation
from pricing.values import FloatArray

if TYPE_CHECKING:
    from pricing.priority.state import Rental


@dataclass(frozen=True)
class Published:
    """Prices and waits of M machines (links, then servers) in K classes, and what they come to for N sessions.

    Parameters
    ----------
    machines, sessions : tuples of str
        Their names.
    rental : Rental
        Base price and premiums.
    waits : array of shape (M, K)
        s, by the formula at measured arrivals, smoothed.
    load : array of shape (M, K)
        Part of its time that each class takes, as measured.
    prices, times : arrays of shape (N,)
        Of one request of each session, currency and s; the price is infinite where a session is not on offer.
    rates : array of shape (N,)
        Requests/s of each session, smoothed: what all but `load` follows from.
    ticks : int
        How many measurements are in them, those before the first request left out.
    allocation : Allocation
        The routes whose machines prices and times are sums over.
    """

    machines: tuple[str, ...]
    sessions: tuple[str, ...]
    rental: Rental
    waits: FloatArray
    load: FloatArray
    prices: FloatArray
    times: FloatArray
    rates: FloatArray
    ticks: int
    allocation: Allocation
