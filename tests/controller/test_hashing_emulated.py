"""The hash is held against the switch that really computes it."""

from __future__ import annotations

import random
import re

import pytest
from private_switch import can_emulate, private_switch

from controller.hashing import slot_of

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(not can_emulate(), reason="needs root and Open vSwitch"),
]

PORTS = {6: "tcp_src={},tcp_dst={}", 17: "udp_src={},udp_dst={}", 1: "icmp_type={},icmp_code={}"}


def test_slots_are_those_of_open_vswitch() -> None:
    draw = random.Random(1)
    with private_switch() as switch:
        switch.bridge("s1", 1)
        for slots in (256, 512, 1000):
            action = f"multipath(symmetric_l3l4+udp,0,modulo_n,{slots},0,NXM_NX_REG2[])"
            switch.inside("ovs-ofctl", "-OOpenFlow13", "add-flow", f"unix:{switch.run}/s1.mgmt", f"ip,actions={action}")
            for _ in range(20):
                proto = draw.choice([1, 6, 17])
                source, target = (f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}" for _ in "ab")
                ports = (8, 0) if proto == 1 else (draw.randrange(65536), draw.randrange(65536))
                packet = f"in_port=1,ip,nw_src={source},nw_dst={target},nw_proto={proto},{PORTS[proto].format(*ports)}"
                trace = switch.appctl("ofproto/trace", "s1", packet)
                found = re.search(r"Final flow: .*?reg2=(0x[0-9a-f]+)", trace)
                real = int(found.group(1), 16) if found else 0
                assert slot_of(source, target, proto, *ports, slots) == real, packet
