"""Changes of a user's value as the command line takes them."""

from __future__ import annotations

import pytest

from experiments.commands.options import settings_of
from experiments.commands.run import _check_users, as_carried
from experiments.running.campaign import SETTLE_ITERATING_S, settling
from pricing.errors import WardropError
from topologies.scenario import load


def test_a_value_that_changes_is_a_phase_of_its_own_with_time_before_and_after_the_change() -> None:
    first, last = settings_of("priority", "measured", None, "many=2")
    assert (first.worth, last.worth, str(last)) == (None, ("many", 2.0), "priority, many's value x2")
    assert (settling(first), settling(last)) == (SETTLE_ITERATING_S, 2 * SETTLE_ITERATING_S)


@pytest.mark.parametrize("worth", ["many", "many=0", "many=-1", "many=two"])
def test_what_is_no_factor_is_refused(worth: str) -> None:
    with pytest.raises(WardropError, match="USER=F with a number F above 0 is accepted"):
        settings_of("priority", "measured", None, worth)


def test_who_is_no_user_is_refused_and_routes_by_class_need_none() -> None:
    settings = settings_of("priority", "measured", None, "all=2")
    with pytest.raises(WardropError, match="accepted users: few, many"):
        _check_users(as_carried(load("two-servers"), ["priority"]), settings)
    with pytest.raises(WardropError, match="none without a policy at which users choose"):
        _check_users(load("two-servers"), settings)
    assert as_carried(load("star"), ["joint", "joint-priority"]) == load("star")
