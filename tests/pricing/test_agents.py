"""Agents on a simulated clock and network: what they say, what they do with it, and where that leads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricing.asked import decide_asked
from pricing.errors import ProtocolError, WardropError
from pricing.joint.agents import PATIENCE, WINDOW, Past, PriceAgent, SourceAgent
from pricing.joint.agents_simulated import price_agents, simulate
from pricing.joint.messages import Message, decode, encode
from pricing.network import Link, Network, Node, Route, Server, Session
from pricing.policy import POLICIES, nominal_loads, solve
from pricing.problem import problem_of
from pricing.shortest import shortest_path


def star(servers: int) -> Network:
    """Two sources at a hub, and servers one link away, each of which could carry all."""
    ends = [f"n{j}" for j in range(servers)]
    names = tuple(f"s{j}" for j in range(servers))
    links = [Link(a, b, 1e6) for end in ends for a, b in (("hub", end), (end, "hub"))]
    sessions = tuple(Session(f"from{k}", "hub", "anycast", names, 4e5) for k in range(2))
    work = 1.25 * sum(session.packet_rate for session in sessions)
    made = tuple(Server(name, end, work) for name, end in zip(names, ends, strict=True))
    return Network("star", (Node("hub"), *map(Node, ends)), tuple(links), made, sessions)


TWO = star(2)
ROUTES = [Route("from0", (("hub", f"n{j}"),), f"s{j}") for j in range(2)]


def told(source: SourceAgent, load: np.ndarray, time: float) -> None:
    """Let a source hear the true prices of everything."""
    for agent in price_agents(source.problem):
        agent.announce(time - 1, np.zeros(len(agent.resources)))
        message = agent.announce(time, load[agent.resources])
        assert message
        source.hear(decode(encode(replace(message, number=int(time))), len(load)))


def test_a_message_survives_its_bytes() -> None:
    message = Message("prices", 7, 12, 1.7e9 + 0.25, 8.0, {0: 0.5, 30: float("inf")})
    assert decode(encode(message), 31) == message
    assert len(encode(message)) + 42 == message.octets == 76


@pytest.mark.parametrize("spoil", [lambda d: d[:10], lambda d: b"XX" + d[2:], lambda d: d + b"\0", lambda d: d[:-6]])
def test_what_is_no_message_is_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ProtocolError):
        decode(spoil(encode(Message("loads", 1, 1, 1.0, 0.0, {3: 2.0}))), 31)


def test_a_resource_that_there_is_not_is_refused() -> None:
    with pytest.raises(ProtocolError, match="beyond 2"):
        decode(encode(Message("loads", 1, 1, 1.0, 0.0, {3: 2.0})), 3)


def test_a_price_tells_the_mean_load_of_the_window() -> None:
    problem = problem_of(TWO)
    server = problem.link_count
    agent = PriceAgent(problem, 0, [server])
    assert agent.announce(0.0, np.array([0.0])) is None
    speed = 0.5 * problem.capacity[server]
    for second in range(1, 20):
        message = agent.announce(float(second), np.array([speed * min(second, 15.0)]))
    assert message
    assert message.span == WINDOW
    mean = speed * (15 - (19 - WINDOW)) / WINDOW
    assert message.values[server] == pytest.approx(float(problem.laws.marginal(np.full(6, mean))[server]))
    down = agent.announce(20.0, np.array([speed * 15]), [False])
    assert down
    assert down.values[server] == np.inf


def test_the_past_is_a_step_function() -> None:
    past = Past()
    past.add(10.0, np.array([1.0]))
    past.add(14.0, np.array([3.0]))
    past.add(12.0, np.array([99.0]))  # came late, and is older than what is known
    assert past.now == [3.0]
    assert past.mean(12.0, 16.0) == [2.0]
    assert past.mean(0.0, 8.0) == [1.0]


def test_old_news_and_what_was_done_since_give_the_load_to_expect() -> None:
    """One that hears nothing new goes on as far as serves all, and half as far each time: it has half of the rates."""
    source = SourceAgent(problem_of(TWO), TWO.sessions[0])
    source.carry(0.0, 4e5, {ROUTES[0]: 1.0})
    told(source, nominal_loads_of(TWO), 5.0)
    for count, now in enumerate((5.0, 11.0, 17.0), 1):
        answered = source.answer(now)
        assert answered[ROUTES[1]] == pytest.approx(1 - 0.5**count, abs=1e-2)
        source.carry(now + 0.5, 4e5, answered)
    assert source.answer(19.0) == answered  # 12 s old: no other answer before 12 s are over


def nominal_loads_of(network: Network) -> np.ndarray:
    loads = nominal_loads(network, shortest_path(network))
    return np.concatenate([loads.links, loads.servers])


def test_nothing_moves_to_where_nobody_was_heard_or_where_it_is_down() -> None:
    problem = problem_of(TWO)
    silent = SourceAgent(problem, TWO.sessions[0])
    silent.carry(0.0, 4e5, {ROUTES[0]: 1.0})
    assert silent.answer(1.0) == {ROUTES[0]: 1.0}
    told(silent, nominal_loads_of(TWO), 2.0)
    assert silent.answer(2.0 + PATIENCE + 1) == {ROUTES[0]: 1.0}
    down = problem.link_count + 1
    silent.hear(Message("prices", 1, 99, 3.0, 8.0, {down: np.inf}))
    assert silent.answer(3.0) == {ROUTES[0]: 1.0}


def test_a_session_that_offers_nearly_nothing_stays_where_it_is() -> None:
    source = SourceAgent(problem_of(TWO), TWO.sessions[0])
    source.carry(0.0, 4e3, {ROUTES[0]: 1.0})
    told(source, nominal_loads_of(TWO), 5.0)
    assert source.answer(5.0) == {ROUTES[0]: 1.0}


def test_a_source_goes_on_from_what_its_ingress_carries() -> None:
    source = SourceAgent(problem_of(TWO), TWO.sessions[0])
    source.carry(0.0, 4e5, {ROUTES[0]: 1.0})
    told(source, nominal_loads_of(TWO), 5.0)
    source.answer(5.0)
    source.carry(6.0, 4e5, {ROUTES[1]: 1.0})  # the other has failed
    assert source.mind == {ROUTES[1]: 1.0}
    assert source.tell(6.0).values.keys() == {2, 5}  # the link to n1, and s1


@pytest.mark.parametrize(("lost", "late"), [(0.0, 0.0), (0.3, 0.0), (0.3, 4.0)])
def test_agents_come_within_two_percent(lost: float, late: float) -> None:
    outcome = simulate(star(3), lost, late, 120)
    assert outcome.gaps[60:].mean() < 0.02
    assert np.isfinite(outcome.gaps).all()


def test_signalling_is_linear_in_the_number_of_servers() -> None:
    said = {count: simulate(star(count), 0.0, 0.0, 8).octets["servers"] for count in (3, 6, 12)}
    assert said[6] == pytest.approx(2 * said[3])
    assert said[12] == pytest.approx(4 * said[3])
    assert said[3] == pytest.approx(3 * 70 * 7 / 8)  # nothing is said in the first second


def test_the_policy_carries_out_what_was_asked_and_works() -> None:
    policy = POLICIES["agents"]
    loads = nominal_loads(TWO, shortest_path(TWO))
    assert policy.decide(TWO, loads, None).allocation == shortest_path(TWO)
    wanted = tuple(zip(ROUTES, (0.25, 0.75), strict=True))
    decision = policy.decide(TWO, loads, {"from0": wanted})
    assert decision.allocation.splits["from0"] == wanted
    left = replace(TWO, links=tuple(link for link in TWO.links if "n0" not in link.key), whole=False)
    survivors = decide_asked(left, nominal_loads(left, shortest_path(left)), {"from0": wanted})
    assert survivors.allocation.splits["from0"] == ((ROUTES[1], 1.0),)


def test_agents_have_no_answer_without_a_network() -> None:
    with pytest.raises(WardropError, match="study agents"):
        solve(TWO, POLICIES["agents"])
