"""Radio links between users and edge servers: path loss, who talks to whom, and how power is shared.

Each edge server has a band of its own and beams that keep its users apart, so links do not disturb one another; a user
is associated with one edge server at a time. A link of gain g and power p carries B log2(1 + g p/sigma^2).

- **Uniform**: a user talks to the edge server that it hears best, with all its power; an edge server gives each of its
  users the same power. This needs no queue and suits every policy.
- **By weight**, equation (15): the power that maximises the drift-plus-penalty,

      p_ij = [ b w_ij / ((V e_i + nu_i) ln 2) - sigma^2/g_ij ]^+,

  with w_ij the largest weight of a packet on the link, b = B slot/packet, e_i the cost of a slot at one watt, and nu_i
  such that the powers of a node keep its budget (water-filling). A user takes the edge server where its own link is
  worth most, together with what the edge server's link to it is worth at an equal share of power; edge servers then
  fill water over their own users. The paper's association (14b) is the choice of the users' links; counting the way
  down in it is ours, since the same association carries it.

Path loss is that of an urban microcell with a line of sight, 32.4 + 21 log10(d/m) + 20 log10(f/GHz) dB (3GPP TR
38.901, table 7.4.1-1), plus a normal shadow in dB. Source: Cai et al. (arXiv 2204.09030), Sections VII-B and VIII-A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing.multicast.instance import IntArray
from pricing.values import FloatArray


@dataclass(frozen=True)
class Radio:
    """What all radio links have in common. Every figure here is ours: the paper's are lost.

    Attributes
    ----------
    bandwidth, carrier : float
        Of each edge server, Hz.
    noise : float
        Density, W/Hz; -174 dBm/Hz is thermal noise.
    shadow : float
        Standard deviation of the shadow fading, dB.
    reach : float
        No link is longer, m.
    user_power, server_power : float
        Budgets, W.
    user_energy, server_energy : float
        Cost of a joule.
    slot, packet : float
        Length of a slot in s, and of a packet in bits.
    """

    bandwidth: float = 2e6
    carrier: float = 30e9
    noise: float = 10**-20.4
    shadow: float = 4.0
    reach: float = 120.0
    user_power: float = 0.2
    server_power: float = 2.0
    user_energy: float = 1.0
    server_energy: float = 1.0
    slot: float = 1e-3
    packet: float = 1e3

    @property
    def amount(self) -> float:
        """b: packets a slot for each bit/s/Hz."""
        return self.bandwidth * self.slot / self.packet


@dataclass(frozen=True)
class Air:
    """The radio links of a network: link `resource[n]` joins `user[n]` and `server[n]`, upwards or downwards."""

    radio: Radio
    resource: IntArray
    user: IntArray
    server: IntArray
    upward: np.ndarray[tuple[int], np.dtype[np.bool_]]


def path_gain(distance: FloatArray, shadow: FloatArray, radio: Radio) -> FloatArray:
    """Gain over noise, 1/W, of links of some length (m) and shadow (dB); 0 out of reach.

    Examples
    --------
    >>> r = Radio()
    >>> gain = path_gain(np.array([10.0, 100.0, 500.0]), np.zeros(3), r)
    >>> (10 * np.log10(gain[0] / gain[1])).round(6), float(gain[2])
    (np.float64(21.0), 0.0)
    """
    far = np.maximum(distance, 1.0)  # the law is not meant for less
    loss = 32.4 + 21 * np.log10(far) + 20 * np.log10(radio.carrier / 1e9) + shadow
    return np.where(distance <= radio.reach, 10 ** (-loss / 10) / (radio.noise * radio.bandwidth), 0.0)


def capacities(gain: FloatArray, power: FloatArray, radio: Radio) -> FloatArray:
    """Packets a slot of links with gains over noise (1/W) and powers (W)."""
    return np.asarray(radio.amount * np.log2(1.0 + gain * power))


def water_filling(worth: FloatArray, gain: FloatArray, budget: float, toll: float) -> FloatArray:
    """Powers p that maximise sum worth log2(1 + gain p) - toll sum p, where sum p <= budget: equation (15).

    Parameters
    ----------
    worth : (N,)
        b w of each link; links that are worth nothing get nothing.
    gain : (N,)
        Gain over noise, 1/W.
    budget : float
        Power of the node, W.
    toll : float
        V e, of a slot at one watt.

    Returns
    -------
    (N,)
        Powers, W.

    Notes
    -----
    p = [worth x - 1/gain]^+ with the water level x = 1/((toll + nu) ln 2); links open one after another as it rises.
    O(N log N).

    Examples
    --------
    >>> water_filling(np.array([1.0, 1.0]), np.array([1.0, 0.25]), 5.0, 0.0)
    array([4., 1.])
    """
    power = np.zeros(len(worth))
    useful = np.flatnonzero((worth > 0) & (gain > 0))
    if not useful.size:
        return power
    opens = 1 / (gain[useful] * worth[useful])
    order = useful[np.argsort(opens, kind="stable")]
    # With the first n links open the budget is spent at this level; n is right when the next one is still closed.
    levels = (budget + np.cumsum(1 / gain[order])) / np.cumsum(worth[order])
    level = float(levels[np.append(levels[:-1] <= np.sort(opens)[1:], True).argmax()])
    if toll > 0:
        level = min(level, 1 / (toll * np.log(2)))
    power[useful] = np.maximum(0.0, worth[useful] * level - 1 / gain[useful])
    return power


def uniform(air: Air, gain: FloatArray) -> FloatArray:
    """Powers (N,) where a user talks to the edge server that it hears best, and edge servers share equally."""
    return _powers(air, gain, _best_server(air, gain), None, 0.0)


def by_weight(air: Air, gain: FloatArray, weight: FloatArray, V: float) -> FloatArray:
    """Powers (N,) by (15), for gains over noise (N,) and the largest weight of a packet on each link (N,)."""
    worth = air.radio.amount * np.maximum(weight, 0.0)
    radio = air.radio
    share = radio.server_power / max(1, int(air.user.max()) + 1)
    budget = np.where(air.upward, radio.user_power, share)
    toll = V * radio.slot * np.where(air.upward, radio.user_energy, radio.server_energy)
    with np.errstate(divide="ignore", invalid="ignore"):
        free = np.where((toll > 0) & (gain > 0), worth / (toll * np.log(2)) - 1 / gain, budget)
    power = np.clip(free, 0.0, budget)
    value = worth * np.log2(1 + gain * power) - toll * power
    # A pair's links up and down lie side by side, so the value of the pair is their sum.
    return _powers(air, gain, _best_server(air, value), worth, V)


def _best_server(air: Air, value: FloatArray) -> IntArray:
    """For each user the edge server whose links are worth most in all; the first of equal ones."""
    table = np.full((int(air.user.max()) + 1, int(air.server.max()) + 1), -1.0)
    table[air.user, air.server] = 0.0
    np.add.at(table, (air.user, air.server), value)
    return np.asarray(table.argmax(axis=1))


def _powers(air: Air, gain: FloatArray, chosen: IntArray, worth: FloatArray | None, V: float) -> FloatArray:
    """Powers once users have chosen: equal shares without `worth`, else by water-filling node by node."""
    radio = air.radio
    talks = (chosen[air.user] == air.server) & (gain > 0)
    power = np.zeros(len(gain))
    up = np.flatnonzero(talks & air.upward)
    if worth is None:
        power[up] = radio.user_power
    else:
        for n in up:
            alone = slice(n, n + 1)
            power[alone] = water_filling(
                worth[alone], gain[alone], radio.user_power, V * radio.slot * radio.user_energy
            )
    for server in np.unique(air.server[talks]):
        down = np.flatnonzero(talks & ~air.upward & (air.server == server))
        if worth is None:
            power[down] = radio.server_power / max(1, len(down))
        else:
            toll = V * radio.slot * radio.server_energy
            power[down] = water_filling(worth[down], gain[down], radio.server_power, toll)
    return power
