"""What rates of all options come to: waits, rental prices, costs, welfare, and how far from optimal they are.

A machine's cost of waiting, sum_k gamma_k Omega_k, is a function of (u, sigma_1..K, gamma_1..K), all linear in the
rates x; prices are its gradient and Newton's matrix its second derivative, both in closed form
(`pricing.priority.waits`). With gamma and Omega of eq. (9) and (6), h = E[t^2]/(2 E[t]^2) and t = q/v:

    r_k(q) = sum_j gamma_j dOmega_j/dpsi_kq = A_k t + h B t^2                                              (10)
    B      = sum_j gamma_j dOmega_j/du,    A_k = sum_{i>=k} sum_j gamma_j dOmega_j/dsigma_i / c
    c_o    = delta_o tau_o + sum of rental prices over the visits of option o                              (2)

**Rest**: V'(X) <= c_o, with equality for each option in use: eq. (4) of users who take prices and waits as given, and
eq. (8) of the welfare problem, one and the same condition. `State.residual` says how far from it a state is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pricing.priority.economy import Economy
from pricing.priority.sizes import Size
from pricing.priority.waits import Queues
from pricing.values import FloatArray

LEAST = 1e-9
"""Part of an option's largest rate below which V' is taken there: V'(0) may be infinite."""


@dataclass(frozen=True)
class Rental:
    """Rental prices of M machines in K classes: a base price quadratic in the job's size, premiums linear in it.

    Parameters
    ----------
    linear : array of shape (M, K)
        A, currency a second of service.
    quadratic : array of shape (M,)
        B, currency a squared second of service.
    speed : array of shape (M,)
        v.
    """

    linear: FloatArray
    quadratic: FloatArray
    speed: FloatArray

    def price(self, size: Size) -> FloatArray:
        """r_mk(q) of one job, currency, shape (M, K)."""
        t = size.mean / self.speed[:, None]
        return np.asarray(self.linear * t + size.h * self.quadratic[:, None] * t**2)

    def base(self, size: Size) -> FloatArray:
        """What the last class pays, shape (M,)."""
        return np.asarray(self.price(size)[:, -1])

    def premium(self, size: Size) -> FloatArray:
        """What each class pays above the last, shape (M, K)."""
        return np.asarray((self.linear - self.linear[:, -1:]) * size.mean / self.speed[:, None])


def rental_prices(queues: Queues, gamma: FloatArray, speed: FloatArray) -> Rental:
    """Eq. (10) at given queues.

    Parameters
    ----------
    gamma : array of shape (M, K)
        Delay cost of a second of wait: delay costs times arrivals a second, eq. (9).
    speed : array of shape (M,)
        v.

    Examples
    --------
    >>> from pricing.priority.waits import single
    >>> found = rental_prices(single([0.3, 0.5], 1.0), np.array([[0.6, 0.5]]), np.ones(1))
    >>> [round(float(price), 6) for price in found.price(Size(1.0, scv=1.0))[0]]
    [23.77551, 18.714286]
    """
    by_sigma = queues.residual[:, None] * np.einsum("mk,mki->mi", gamma, queues.factor_slopes)
    linear = np.cumsum(by_sigma[:, ::-1], axis=1)[:, ::-1] / queues.servers[:, None]
    return Rental(linear, np.einsum("mk,mk->m", gamma, queues.factor), speed)


@dataclass(frozen=True)
class State:
    """Rates of all options of an economy, and what follows from them.

    Parameters
    ----------
    economy : Economy
    x : array of shape (N,)
        Programs a second of each option, from 0; all machines below capacity.
    priced : bool, optional
        False where access is free: rents are 0, and users weigh delay alone.
    """

    economy: Economy
    x: FloatArray
    priced: bool = True

    @cached_property
    def _forms(self) -> FloatArray:
        """(u, sigma, gamma) of each machine, shape (M, 2 K + 1)."""
        return np.asarray(self.economy.forms @ self.x)

    @cached_property
    def queues(self) -> Queues:
        """Arrivals at each machine."""
        sigma = self._forms[:, 1 : 1 + self.economy.classes]
        return Queues(self._forms[:, 0], np.diff(sigma, axis=1, prepend=0.0), self.economy.servers)

    @property
    def gamma(self) -> FloatArray:
        """Delay cost of a second of wait (9), currency/s a second, shape (M, K)."""
        return np.asarray(self._forms[:, 1 + self.economy.classes :])

    @cached_property
    def waits(self) -> FloatArray:
        """Omega, s, shape (M, K)."""
        return self.queues.waits

    @cached_property
    def rental(self) -> Rental:
        """Rental prices at these rates (10)."""
        return rental_prices(self.queues, self.gamma, self.economy.speed)

    @cached_property
    def rents(self) -> FloatArray:
        """What a program of each option pays, currency, shape (N,): for a route, the sum over its machines."""
        return option_rents(self.economy, self.rental) if self.priced else np.zeros(len(self.x))

    @cached_property
    def throughput(self) -> FloatArray:
        """tau (1), s, shape (N,)."""
        return option_times(self.economy, self.waits)

    @cached_property
    def costs(self) -> FloatArray:
        """delta tau + rents, currency a program, shape (N,)."""
        return np.asarray(self.economy.delay_cost * self.throughput + self.rents)

    @cached_property
    def totals(self) -> FloatArray:
        """X of each service, shape (S,)."""
        return self.economy.totals(self.x)

    @cached_property
    def values(self) -> FloatArray:
        """V(X) of each service, currency/s, shape (S,)."""
        rates = self.totals
        return np.array([s.value.value(float(X)) for s, X in zip(self.economy.services, rates, strict=True)])

    @cached_property
    def marginals(self) -> FloatArray:
        """V'(X) of each service, currency, shape (S,)."""
        rates = np.maximum(self.totals, LEAST * self.economy.service_scale)
        return np.array([s.value.marginal(float(X)) for s, X in zip(self.economy.services, rates, strict=True)])

    @property
    def welfare(self) -> float:
        """W (7), currency/s."""
        return float(self.values.sum() - (self.economy.delay_cost * self.x) @ self.throughput)

    @property
    def revenue(self) -> float:
        """Rents of all, currency/s."""
        return float(self.x @ self.rents)

    @cached_property
    def machine_revenue(self) -> FloatArray:
        """Rents taken in by each machine and class, currency/s, shape (M, K)."""
        paid = self._machine_rents if self.priced else np.zeros_like(self.economy.time)
        return np.asarray((self.x[:, None] * paid).T @ np.eye(self.economy.classes)[self.economy.chosen])

    @cached_property
    def _machine_rents(self) -> FloatArray:
        return _rents_by_machine(self.economy, self.rental)

    @property
    def net_benefits(self) -> FloatArray:
        """V - x c of each service, what is left to its user after delay and rent (3), currency/s, shape (S,)."""
        return np.asarray(self.values - self.economy.totals(self.x * self.costs))

    @cached_property
    def slack(self) -> FloatArray:
        """c_o - V': 0 at an option in use, from 0 at the others, when all rest; currency, shape (N,)."""
        return np.asarray(self.costs - self.marginals[self.economy.owner])

    @cached_property
    def residual(self) -> float:
        """Most by which rates and slack fail each other, ratio: max |min(x/scale, slack/cost)|."""
        if not self.queues.stable:
            return np.inf
        unit = np.maximum(self.costs, 1e-12 + np.abs(self.marginals[self.economy.owner]))
        return float(np.max(np.abs(np.minimum(self.x / self.economy.scale, self.slack / unit))))

    @cached_property
    def slack_slopes(self) -> FloatArray:
        """Derivative of the slack by the rates, shape (N, N); where priced, minus the welfare's second derivative."""
        economy, classes = self.economy, self.economy.classes
        bends = _machine_bends(self.queues, self.gamma)
        if self.priced:
            curved = np.einsum("mas,mab,mbo->so", economy.forms, bends, economy.forms, optimize=True)
        else:  # only how one's own delay grows: the rows of gamma, whose derivative is Omega
            own = economy.forms.copy()
            own[:, : 1 + classes] = 0
            curved = np.einsum("mas,mab,mbo->so", own, bends, economy.forms, optimize=True)
        rates = np.maximum(self.totals, LEAST * economy.service_scale)
        bend = np.array([s.value.bend(float(X)) for s, X in zip(economy.services, rates, strict=True)])
        same = economy.owner[:, None] == economy.owner
        return np.asarray(curved - same * bend[economy.owner])


def option_rents(economy: Economy, rental: Rental) -> FloatArray:
    """Sum of rental prices over each option's visits, currency, shape (N,)."""
    return np.asarray(_rents_by_machine(economy, rental).sum(axis=1))


def option_times(economy: Economy, waits: FloatArray) -> FloatArray:
    """tau of each option at waits of shape (M, K), s, shape (N,)."""
    return np.asarray(economy.unhindered + np.einsum("nm,nm->n", economy.visits, waits.T[economy.chosen]))


def _rents_by_machine(economy: Economy, rental: Rental) -> FloatArray:
    return np.asarray(economy.time * rental.linear.T[economy.chosen] + economy.residual * rental.quadratic)


def _machine_bends(queues: Queues, gamma: FloatArray) -> FloatArray:
    """Second derivative of sum gamma_k Omega_k by (u, sigma, gamma) of each machine, (M, 2 K + 1, 2 K + 1)."""
    machines, classes = gamma.shape
    bends = np.zeros((machines, 2 * classes + 1, 2 * classes + 1))
    sigma, weight = slice(1, 1 + classes), slice(1 + classes, None)
    u = queues.residual[:, None, None]
    bends[:, 0, sigma] = bends[:, sigma, 0] = np.einsum("mk,mki->mi", gamma, queues.factor_slopes)
    bends[:, 0, weight] = bends[:, weight, 0] = queues.factor
    bends[:, sigma, sigma] = u * np.einsum("mk,mkij->mij", gamma, queues.factor_bends)
    bends[:, weight, sigma] = u * queues.factor_slopes
    bends[:, sigma, weight] = bends[:, weight, sigma].transpose(0, 2, 1)
    return bends
