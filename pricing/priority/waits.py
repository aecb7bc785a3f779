"""Waits of priority classes, and their derivatives, in closed form.

Machine m has c equal servers of speed v; jobs of class k (1 first) and size q come at rate psi_kq, and are never
interrupted. With t = q/v and h = E[t^2]/(2 E[t]^2):

    u       = sum_kq psi_kq h t^2                       residual, s (W0 in papers, for c = 1)
    sigma_k = sum_{j<=k} sum_q psi_jq t/c               load of class k and those before it, S_k = 1 - sigma_k, S_0 = 1
    Omega_k = u g(sigma_K) / (S_{k-1} S_k)              mean wait

g = 1 for one server (Cobham: exact for any sizes; M/M/1, M/D/1 and M/G/1 are its cases). For c servers whose jobs are
all exponential with one mean, g = P(all servers busy)/(c^2 sigma_K), Erlang's C (non-preemptive M/M/c: exact).

Everything that prices need are derivatives of Omega by u and sigma; those by an arrival rate follow from them:

    dOmega_j/dpsi_kq = h t^2 dOmega_j/du + t/c sum_{i>=k} dOmega_j/dsigma_i

Source: A. Cobham, Priority assignment in waiting line problems (1954); Kim and Juhn, eq. (6), for its place here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pricing.errors import Infeasible, WardropError
from pricing.values import FloatArray

IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class Queues:
    """What arrives at M machines in K classes, as far as their waits depend on it.

    Parameters
    ----------
    residual : array of shape (M,)
        u = sum of psi h t^2, s.
    load : array of shape (M, K)
        Part of its servers' time that each class takes, ratio.
    servers : array of int of shape (M,)
        c.
    """

    residual: FloatArray
    load: FloatArray
    servers: IntArray

    @cached_property
    def sigma(self) -> FloatArray:
        """Load of each class and those before it, shape (M, K)."""
        return np.cumsum(self.load, axis=1)

    @property
    def stable(self) -> bool:
        """Whether every machine has time for all."""
        return bool((self.sigma[:, -1] < 1).all())

    @cached_property
    def _spare(self) -> FloatArray:
        """S_0 to S_K, shape (M, K + 1)."""
        return np.maximum(1 - np.pad(self.sigma, ((0, 0), (1, 0))), 0.0)

    @cached_property
    def _busy(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """g, and first and second derivative of log g, each of shape (M,)."""
        return _erlang(self.servers, self.sigma[:, -1])

    @cached_property
    def factor(self) -> FloatArray:
        """dOmega/du = g / (S_{k-1} S_k), shape (M, K)."""
        with np.errstate(divide="ignore"):
            return np.asarray(self._busy[0][:, None] / (self._spare[:, :-1] * self._spare[:, 1:]))

    @property
    def waits(self) -> FloatArray:
        """Omega, s, shape (M, K); infinite for a class that finds no time left."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(np.isinf(self.factor), np.inf, self.residual[:, None] * self.factor))

    @cached_property
    def _log_slopes(self) -> tuple[FloatArray, FloatArray]:
        """First and second derivatives of log(dOmega_k/du) by sigma_i; all mixed second ones are 0. (M, k, i)."""
        classes = self.load.shape[1]
        here, before = np.eye(classes), np.eye(classes, k=-1)
        last = np.zeros((classes, classes))
        last[:, -1] = 1
        over = 1 / self._spare
        part = here * over[:, 1:, None] + before * over[:, :-1, None]
        square = here * over[:, 1:, None] ** 2 + before * over[:, :-1, None] ** 2
        _, first, second = self._busy
        return part + last * first[:, None, None], square + last * second[:, None, None]

    @cached_property
    def factor_slopes(self) -> FloatArray:
        """d2Omega_k/(du dsigma_i), shape (M, k, i); needs stable queues, as all that follow do."""
        return np.asarray(self.factor[:, :, None] * self._log_slopes[0])

    @cached_property
    def factor_bends(self) -> FloatArray:
        """d3Omega_k/(du dsigma_i dsigma_j), shape (M, k, i, j)."""
        first, second = self._log_slopes
        bend = first[:, :, :, None] * first[:, :, None, :]
        index = np.arange(first.shape[2])
        bend[:, :, index, index] += second
        return np.asarray(self.factor[:, :, None, None] * bend)

    def wait_slopes(self, time: ArrayLike, h: ArrayLike) -> FloatArray:
        """dOmega_j/dpsi_k of one more job a second of mean `time` (s) and residual factor `h`, shape (M, j, k); s^2."""
        t, residual = np.asarray(time, dtype=float), np.asarray(h, dtype=float)
        tail = np.cumsum(self.factor_slopes[:, :, ::-1], axis=2)[:, :, ::-1]
        u, c = self.residual[:, None, None], self.servers[:, None, None]
        return np.asarray(self.factor[:, :, None] * residual * t**2 + u * tail * t / c)


def single(rates: ArrayLike, times: ArrayLike, scv: ArrayLike = 1.0, servers: int = 1) -> Queues:
    """One machine whose class k has jobs of one kind.

    Parameters
    ----------
    rates : array of shape (K,)
        Arrivals a second of each class, first class first.
    times, scv : float or arrays of shape (K,)
        Mean service, s, and its squared coefficient of variation: 1 is M/M, 0 is M/D, any other M/G.
    servers : int, optional
        More than one needs exponential services of one mean: no closed form is known for others.

    Raises
    ------
    WardropError
        When a number is out of range or several servers meet other services.

    Examples
    --------
    2 and 6 jobs an hour, of 6 minutes each: 6 and 30 minutes of wait.

    >>> [float(w) for w in single([2, 6], 1 / 10).waits[0] * 60]
    [6.000000000000001, 30.000000000000014]
    """
    psi, t, varied = np.broadcast_arrays(*(np.atleast_1d(np.asarray(a, dtype=float)) for a in (rates, times, scv)))
    problems = []
    if not (np.isfinite(psi) & (psi >= 0)).all():
        problems.append(f"rates {psi.tolist()}: finite numbers from 0 are accepted")
    if not (np.isfinite(t) & (t > 0)).all():
        problems.append(f"times {t.tolist()}: finite numbers of seconds above 0 are accepted")
    if not (np.isfinite(varied) & (varied >= 0)).all():
        problems.append(
            f"scv {varied.tolist()}: finite numbers from 0 are accepted; without a variance every wait is infinite"
        )
    if servers < 1:
        problems.append(f"{servers} servers: 1 and more are accepted")
    if servers > 1 and ((varied != 1).any() or np.ptp(t) > 0):
        problems.append(
            f"{servers} servers: waits are known for exponential services of one mean (scv 1); for others use one "
            "server, or simulate"
        )
    if problems:
        raise WardropError("\n".join(problems))
    return Queues(
        np.array([np.sum(psi * (1 + varied) / 2 * t**2)]), np.atleast_2d(psi * t / servers), np.array([servers])
    )


def cobham(rates: ArrayLike, times: ArrayLike, scv: ArrayLike = 1.0, servers: int = 1) -> FloatArray:
    """Mean wait of each class at one machine, s, shape (K,); parameters as for `single`.

    Raises
    ------
    Infeasible
        When the classes together ask for more time than there is.
    """
    queue = single(rates, times, scv, servers)
    load = float(queue.sigma[0, -1])
    if load >= 1:
        raise Infeasible(
            f"the classes load the machine to {load:.4g} of its capacity: below 1 is accepted; from class "
            f"{int(np.argmax(queue.sigma[0] >= 1)) + 1} on nobody is ever served",
            excess=load - 1,
        )
    return np.asarray(queue.waits[0])


def _erlang(servers: IntArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """g = C(c, c sigma)/(c^2 sigma), C being Erlang's, and the first and second derivative of its logarithm.

    B by its recursion over servers, C = B/D with D = 1 - sigma (1 - B); dB/da = B (c/a - 1 + B) at a = c sigma.
    """
    one = servers == 1
    if one.all():
        return np.ones(len(sigma)), np.zeros(len(sigma)), np.zeros(len(sigma))
    c, rho = servers.astype(float), np.maximum(sigma, 1e-9)
    blocked = np.ones(len(sigma))
    for n in range(1, int(servers.max()) + 1):
        blocked = np.where(n <= servers, c * rho * blocked / (n + c * rho * blocked), blocked)
    grow = c / rho - c + c * blocked
    slope = blocked * grow
    grow_slope = -c / rho**2 + c * slope
    bend = slope * grow + blocked * grow_slope
    below = 1 - rho + rho * blocked
    below_slope = -1 + blocked + rho * slope
    below_bend = 2 * slope + rho * bend
    first = grow - below_slope / below - 1 / rho
    second = grow_slope - below_bend / below + (below_slope / below) ** 2 + 1 / rho**2
    value = blocked / (below * c**2 * rho)
    return np.where(one, 1.0, value), np.where(one, 0.0, first), np.where(one, 0.0, second)
