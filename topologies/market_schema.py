"""The form of a market file: nodes and cables as in a scenario, with assets, workloads, demand and prices.

`pricing.market.model` says what the parts mean. All prices are in the one currency of the file, and written with it and
what they are by: `60 USD/MWh`, `0.02 USD/GB`, `20 USD/Mtoken`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from topologies import units
from topologies.checking import Form
from topologies.schema import (
    BIT_RATE,
    CURRENCY,
    CURRENCY_ACCEPTED,
    LIMIT,
    NAME,
    NAME_ACCEPTED,
    NAMES,
    SECONDS,
    TOKENS,
    BitRate,
    Bytes,
    CablePart,
    LinkPart,
    Money,
    NodePart,
    Part,
    Price,
    Quantity,
    Seconds,
    Upkeep,
    Value,
)

Power = Annotated[Money, Price("power")]
Work = Annotated[float, Quantity("compute")]
Energy = Annotated[float, Quantity("energy")]
Tokens = Annotated[float, Quantity("tokens")]

RATE = f"a number above 0 with its unit: {units.EXAMPLES['tokens']}"
FACTORS = "a list of numbers from 0, one for each period, by which it is multiplied"


class SitePart(NodePart):
    """A node, what energy costs there, and what a work costs beside it (cooling water, rent, staff)."""

    energy: Power | None = Field(default=None, description=units.money_accepted("power"))
    energy_factors: list[Annotated[float, Field(ge=0)]] | None = Field(default=None, description=FACTORS)
    site: Upkeep | None = Field(default=None, description=units.money_accepted("upkeep"))


class PaidCablePart(CablePart):
    """A cable; nothing is emulated at its capacity, so that it may have any."""

    capacity: BitRate = Field(description=BIT_RATE)
    capacity_back: BitRate | None = Field(default=None, description=f"from the second end to the first, {BIT_RATE}")


class PaidLinkPart(LinkPart):
    """A link of any capacity."""

    capacity: BitRate = Field(description=BIT_RATE)


class AssetPart(Part):
    """A class of machines at a node."""

    node: str = Field(description="the name of the node where it is")
    capacity: Work = Field(description=f"a number above 0 with its unit: {units.EXAMPLES['compute']}")
    energy: Energy = Field(description=f"energy of a work, cooling included, such as {units.EXAMPLES['energy']}")
    upkeep: Upkeep | None = Field(default=None, description=units.money_accepted("upkeep"))
    workloads: list[str] | None = Field(default=None, description="a list of names of workloads; all without it")
    stand_in: ClassVar[Mapping[str, Any]] = {"capacity": "1 work/s", "energy": "1 J/work"}


class WorkloadPart(Part):
    """A kind of work."""

    compute: float = Field(gt=0, description="a number above 0: work of a token")
    request: Bytes = Field(description="bytes a token moves to the asset, such as '5 bytes'")
    response: Bytes = Field(description="bytes a token moves back, such as '12 bytes'")
    limit: Seconds | None = Field(default=None, description=LIMIT)
    wait: int = Field(default=0, ge=0, description="a whole number from 0: periods that it may wait")
    tokens: float = Field(default=1.0, gt=0, description=TOKENS)
    value: Value | None = Field(
        default=None, description=f"of a token that is not served: {units.money_accepted('value')}"
    )
    factors: list[Annotated[float, Field(gt=0)]] | None = Field(
        default=None, description="a list of numbers above 0, one for each period, by which its demand is multiplied"
    )
    stand_in: ClassVar[Mapping[str, Any]] = {"compute": 1.0, "request": "1 bytes", "response": "1 bytes"}


class StepPart(Part):
    """A part of a demand that is served while a token costs no more than its value."""

    rate: Tokens = Field(description=RATE)
    value: Value = Field(description=units.money_accepted("value"))


class DemandPart(Part):
    """What a region asks of a workload."""

    region: str = Field(description="the name of the node where it is asked for")
    workload: str = Field(description="the name of a workload")
    rate: Tokens | None = Field(default=None, description=RATE)
    steps: list[StepPart] = Field(default=[], description="a list of steps (rate, value), instead of a rate")


class PeriodsPart(Part):
    """Periods that are cleared together."""

    count: int = Field(ge=1, le=168, description="a whole number from 1 to 168")
    length: Seconds = Field(default=3600.0, description=SECONDS)
    stand_in: ClassVar[Mapping[str, Any]] = {"count": 1}


class MarketPart(Part):
    """A market file."""

    name: str = Field(pattern=NAME, description=NAME_ACCEPTED)
    title: str = Field(min_length=1, description="a line that says what it is")
    provenance: str = Field(min_length=1, description="text: where the data comes from, and what is made up")
    currency: str = Field(pattern=CURRENCY, description=CURRENCY_ACCEPTED)
    token: Bytes = Field(default=4.0, description="what the token-equivalent baseline takes a token to be, '4 bytes'")
    periods: PeriodsPart = Field(default=PeriodsPart(count=1), description="a mapping: count, length")
    nodes: dict[str, SitePart] = Field(description="a mapping of names to nodes, one or more", json_schema_extra=NAMES)
    cables: list[PaidCablePart] = Field(default=[], description="a list of cables (ends, capacity, length, fee)")
    links: list[PaidLinkPart] = Field(default=[], description="a list of one-way links (from, to, capacity, fee)")
    assets: dict[str, AssetPart] = Field(
        description="a mapping of names to assets (node, capacity, energy, upkeep)", json_schema_extra=NAMES
    )
    workloads: dict[str, WorkloadPart] = Field(
        description="a mapping of names to workloads (compute, request, response, limit)", json_schema_extra=NAMES
    )
    demand: list[DemandPart] = Field(description="a list of demands (region, workload, rate)")
    stand_in: ClassVar[Mapping[str, Any]] = {
        "name": "x", "title": "x", "provenance": "x", "currency": "USD", "nodes": {}, "assets": {}, "workloads": {},
        "demand": [],
    }  # fmt: skip


MARKET = Form(
    MarketPart,
    {
        "nodes": SitePart,
        "cables": PaidCablePart,
        "links": PaidLinkPart,
        "assets": AssetPart,
        "workloads": WorkloadPart,
        "demand": DemandPart,
        "periods": PeriodsPart,
    },
    named=("nodes", "assets", "workloads"),
    listed=("cables", "links", "demand"),
    reach=("nodes", "cables", "links", "assets", "workloads"),
)
"""The form of a market file, for `topologies.checking`."""
