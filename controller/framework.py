"""The one place that knows the OpenFlow framework: os-ken, or Ryu, chosen by name at the start.

Both offer the same classes under two names (`os_ken.` and `ryu.`); what differs is how they run. os-ken's hub is made
of threads; Ryu's is eventlet, one thread, which patches the standard library: it must be loaded before anything that
keeps a reference to what it patches, so `load` comes first in a process.

The application is a shim. It hands three kinds of event to a **listener**: a switch is there, a switch is gone, a
message came. Handlers are guarded, because an exception in one of them would end the event loop without a word.
"""

from __future__ import annotations

import importlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from controller.rules import COUNTED
from pricing.errors import WardropError

PACKAGES = {"os-ken": "os_ken", "ryu": "ryu"}
"""Frameworks by name: the package that each is imported as."""


class Listener(Protocol):
    """What hears of switches. Called from the framework's threads."""

    def connected(self, datapath: Any) -> None:
        """A switch has said hello and who it is; `datapath.id` is its number."""

    def gone(self, datapath: Any) -> None:
        """A switch's connection has ended."""

    def received(self, datapath: Any, message: Any) -> None:
        """An error, a barrier's reply, counters, or news of a port came."""

    def failed(self, error: Exception) -> None:
        """A handler failed."""


class Door(Protocol):
    """How connections come in, `most` at a time."""

    most: int

    def open(self, plain: socket.socket) -> Any:
        """What is spoken on, with a socket's methods; raises OSError where it does not come about."""

    def refused(self, kind: str, why: str) -> None:
        """A connection was ended."""


@dataclass(frozen=True)
class Framework:
    """A loaded framework: its names for OpenFlow 1.3, and how to start it."""

    name: str
    version: str
    package: str
    hub: Any
    ofproto: Any
    parser: Any

    def spawn(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run a function beside the others: in a thread, or in eventlet's green one."""
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def listen(self, listener: Listener, server: socket.socket, door: Door) -> None:
        """Accept switches from now on, and tell the listener; returns at once.

        Parameters
        ----------
        listener : Listener
        server : socket
            It listens already, and was made after `load`.
        door : Door
        """
        base = importlib.import_module(f"{self.package}.base.app_manager")
        # The manager comes before the controller: the other order is a circular import.
        importlib.import_module(f"{self.package}.controller.controller")
        importlib.import_module(f"{self.package}.cfg").CONF(args=[], default_config_files=[])
        logging.getLogger(self.package).setLevel(logging.CRITICAL)  # what switches say wrong is counted, not printed
        manager = base.AppManager.get_instance()
        manager.applications_cls |= {"handshake": _handshake(self), "wardrop": _application(self, listener)}
        manager.instantiate_apps(**manager.create_contexts())
        connection = _connection(self)
        places = threading.BoundedSemaphore(door.most)

        def converse(plain: socket.socket, address: Any) -> None:
            try:
                with plain:
                    connection(door.open(plain), address).serve()
            except OSError as error:
                door.refused("handshake", str(error))
            except Exception as error:  # whatever a peer says ends its own connection at most
                door.refused("malformed", f"{type(error).__name__}: {error}")
            finally:
                places.release()

        def accept() -> None:
            while True:
                try:
                    plain, address = server.accept()
                except OSError:  # no descriptor left, or the peer has gone already
                    time.sleep(0.1)
                    continue
                if places.acquire(blocking=False):
                    self.spawn(converse, plain, address)
                else:
                    plain.close()
                    door.refused("crowd", f"more than {door.most} connections of switches at a time")

        self.spawn(accept)

    def port_counters(self, datapath: Any) -> Any:
        """The message that asks for the counters of all ports."""
        return self.parser.OFPPortStatsRequest(datapath, 0, self.ofproto.OFPP_ANY)

    def ports(self, datapath: Any) -> Any:
        """The message that asks which ports there are, and whether they are alive."""
        return self.parser.OFPPortDescStatsRequest(datapath, 0)

    def alive(self, port: Any) -> bool:
        """Whether a port that a message describes has its carrier."""
        return not (port.config & self.ofproto.OFPPC_PORT_DOWN or port.state & self.ofproto.OFPPS_LINK_DOWN)

    def quiet(self, datapath: Any, packets: bool) -> Any:
        """The message after which a switch tells of its ports alone, and sends `packets` where a rule says so."""
        of = self.ofproto
        changes = 1 << of.OFPPR_ADD | 1 << of.OFPPR_DELETE | 1 << of.OFPPR_MODIFY
        asked = 1 << of.OFPR_ACTION if packets else 0
        return self.parser.OFPSetAsync(datapath, (asked, 0), (changes, changes), (0, 0))

    def packet(self, datapath: Any, port: int, frame: bytes) -> Any:
        """The message that lets a switch send a frame out of a port."""
        of, parser = self.ofproto, self.parser
        actions = [parser.OFPActionOutput(port)]
        return parser.OFPPacketOut(datapath, of.OFP_NO_BUFFER, of.OFPP_CONTROLLER, actions, frame)

    def rules(self, datapath: Any) -> Any:
        """The message that asks for all rules of all tables."""
        of = self.ofproto
        return self.parser.OFPFlowStatsRequest(
            datapath, 0, of.OFPTT_ALL, of.OFPP_ANY, of.OFPG_ANY, 0, 0, self.parser.OFPMatch()
        )

    def groups(self, datapath: Any) -> Any:
        """The message that asks for all groups and their buckets."""
        return self.parser.OFPGroupDescStatsRequest(datapath, 0)

    def rule_counters(self, datapath: Any) -> Any:
        """The message that asks for the counters of the rules whose cookie says `COUNTED`."""
        of = self.ofproto
        return self.parser.OFPFlowStatsRequest(
            datapath, 0, of.OFPTT_ALL, of.OFPP_ANY, of.OFPG_ANY, COUNTED, COUNTED, self.parser.OFPMatch()
        )


def load(name: str) -> Framework:
    """Load a framework by name and prepare this process for it.

    Raises
    ------
    WardropError
        When the name is none of `PACKAGES`, or the framework is not installed.
    """
    if name not in PACKAGES:
        near = get_close_matches(name, PACKAGES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"{', '.join(PACKAGES)} are accepted"
        raise WardropError(f"framework {name!r} is unknown: {hint}")
    package = PACKAGES[name]
    try:
        release = version(name)
        if name == "ryu":
            # Ryu 4.34 asks for a name that eventlet has since dropped.
            vars(importlib.import_module("eventlet.wsgi")).setdefault("ALREADY_HANDLED", object())
        hub = importlib.import_module(f"{package}.lib.hub")
    except (ImportError, PackageNotFoundError) as error:
        raise WardropError(f"framework {name} is not installed ({error}): run bin/wardrop setup") from error
    hub.patch()
    ofproto = importlib.import_module(f"{package}.ofproto.ofproto_v1_3")
    parser = importlib.import_module(f"{package}.ofproto.ofproto_v1_3_parser")
    return Framework(name, release, package, hub, ofproto, parser)


def _handshake(framework: Framework) -> type[Any]:
    """The framework's application that greets switches, without its own way of listening."""
    parent: Any = importlib.import_module(f"{framework.package}.controller.ofp_handler").OFPHandler

    class Handshake(parent):  # type: ignore[misc]
        def start(self) -> None:
            super(parent, self).start()

    return Handshake


def _connection(framework: Framework) -> type[Any]:
    """The framework's connection with a switch, made to end: on a hub of threads its sender would wait for ever."""
    parent: Any = importlib.import_module(f"{framework.package}.controller.controller").Datapath
    dead: Any = importlib.import_module(f"{framework.package}.controller.handler").DEAD_DISPATCHER

    class Connection(parent):  # type: ignore[misc]
        def _recv_loop(self) -> None:
            try:
                super()._recv_loop()
            finally:
                self.set_state(dead)
                self.send(b"", close_socket=True)

    return Connection


def _application(framework: Framework, listener: Listener) -> type[Any]:
    """The application class of a framework: it guards, and hands on."""
    base: Any = importlib.import_module(f"{framework.package}.base.app_manager")
    events: Any = importlib.import_module(f"{framework.package}.controller.ofp_event")
    handler: Any = importlib.import_module(f"{framework.package}.controller.handler")
    parent: Any = getattr(base, "OSKenApp", None) or base.RyuApp

    def guarded(function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:
            listener.failed(error)

    class Events(parent):  # type: ignore[misc]
        OFP_VERSIONS = (framework.ofproto.OFP_VERSION,)

        @handler.set_ev_cls(events.EventOFPStateChange, [handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
        def state(self, event: Any) -> None:
            alive = event.state == handler.MAIN_DISPATCHER
            guarded(listener.connected if alive else listener.gone, event.datapath)

        @handler.set_ev_cls(  # type: ignore[untyped-decorator]
            [
                events.EventOFPErrorMsg,
                events.EventOFPBarrierReply,
                events.EventOFPPortStatsReply,
                events.EventOFPFlowStatsReply,
                events.EventOFPPortDescStatsReply,
                events.EventOFPExperimenter,
                events.EventOFPPortStatus,
            ],
            handler.MAIN_DISPATCHER,
        )
        def message(self, event: Any) -> None:
            guarded(listener.received, event.msg.datapath, event.msg)

    return Events
