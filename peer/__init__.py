"""Playcast's library: stream a display, a game or a test picture to many browsers.

::

    async with SignallingClient(SignallingClientSettings(url=url, token=token, room="den")) as room:
        hub = MediaHub(HubSettings(bind=("0.0.0.0",), port=40000))
        async with Host(ScreenTrack(display=":0"), hub, room) as host:
            await host.run()
        await hub.close()

Who may do what is the room's decision; whoever injects input asks the host, event by event::

    if host.allows(peer, "pad:1"):
        ...

The other direction answers an offer, and has a track::

    viewer = ReceivingConnection(hub)
    answer = await viewer.accept_offer(offer)
    frame = await viewer.track.recv()  # an av.VideoFrame; or recv_picture() for numpy arrays

An aiortc application takes just the track: ``add_track(pc, ScreenTrack(display=":0"))``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peer.connection import Connection, ConnectionEvents, ConnectionSettings, ConnectionState
    from peer.display import DisplayError, Program, VirtualDisplay, freedoom
    from peer.gathering import IceServer
    from peer.grants import Grants, Release
    from peer.host import Host, HostSettings, SourceGone
    from peer.hub import HubSettings, MediaHub
    from peer.ice import IceSettings
    from peer.received_track import ReceivedTrack
    from peer.receiving import ReceivingConnection, ReceivingEvents, ReceivingSettings
    from peer.report import HostReport, ViewerReport
    from peer.requests import RequestRefused
    from peer.room_view import RoomReport, RoomView
    from peer.sdp import SdpError, VideoOffer
    from peer.signalling_client import (
        SignallingClient,
        SignallingClientSettings,
        SignallingRefused,
    )
    from peer.tracks import NativeTrack, PatternTrack, ScreenTrack, add_track
    from peer.viewing import NoPicture, Viewing, ViewingSettings

_MODULES = {
    "connection": ("Connection", "ConnectionEvents", "ConnectionSettings", "ConnectionState"),
    "display": ("DisplayError", "Program", "VirtualDisplay", "freedoom"),
    "gathering": ("IceServer",),
    "grants": ("Grants", "Release"),
    "host": ("Host", "HostSettings", "SourceGone"),
    "hub": ("HubSettings", "MediaHub"),
    "ice": ("IceSettings",),
    "received_track": ("ReceivedTrack",),
    "receiving": ("ReceivingConnection", "ReceivingEvents", "ReceivingSettings"),
    "report": ("HostReport", "ViewerReport"),
    "requests": ("RequestRefused",),
    "room_view": ("RoomReport", "RoomView"),
    "sdp": ("SdpError", "VideoOffer"),
    "signalling_client": ("SignallingClient", "SignallingClientSettings", "SignallingRefused"),
    "tracks": ("NativeTrack", "PatternTrack", "ScreenTrack", "add_track"),
    "viewing": ("NoPicture", "Viewing", "ViewingSettings"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Connection",
    "ConnectionEvents",
    "ConnectionSettings",
    "ConnectionState",
    "DisplayError",
    "Grants",
    "Host",
    "HostReport",
    "HostSettings",
    "HubSettings",
    "IceServer",
    "IceSettings",
    "MediaHub",
    "NativeTrack",
    "NoPicture",
    "PatternTrack",
    "Program",
    "ReceivedTrack",
    "ReceivingConnection",
    "ReceivingEvents",
    "ReceivingSettings",
    "Release",
    "RequestRefused",
    "RoomReport",
    "RoomView",
    "ScreenTrack",
    "SdpError",
    "SignallingClient",
    "SignallingClientSettings",
    "SignallingRefused",
    "SourceGone",
    "VideoOffer",
    "ViewerReport",
    "Viewing",
    "ViewingSettings",
    "VirtualDisplay",
    "add_track",
    "freedoom",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no more: the command's help needs no aiortc."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"peer.{module}"), name)
