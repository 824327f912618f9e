"""A viewer of the core's own, behind an emulated link: two hubs, keys by hand, no signalling."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.link.presets import LinkSettings
from bench.link.running import Relay
from native import (
    Address,
    Codec,
    Controller,
    Datagram,
    Hub,
    MediaSettings,
    Peer,
    ReceivedFrame,
    ReceiveSettings,
    Reception,
    SrtpProfile,
    Stream,
)

KEY = bytes(range(28))
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
"""A binding request: what a hub hands to Python, so that its way back can be seen."""


@dataclass
class NativeViewer:
    """What a host's hub has of a viewer, and the viewer itself."""

    peer: Peer
    """On the host's hub."""
    reception: Reception
    relay: Relay
    _seen: int = field(default=0)

    def new_frames(self) -> list[ReceivedFrame]:
        """The frames since the last call."""
        frames = self.reception.frames(self._seen)
        if frames:
            self._seen = frames[-1].id + 1
        return frames


def _first_datagram(hub: Hub) -> Datagram:
    """The next thing that the hub hands to Python."""
    while True:
        select.select([hub.fileno()], [], [], 10)
        event = hub.next_event()
        if isinstance(event, Datagram):
            return event


@contextmanager
def native_viewer(
    host: Hub,
    stream: Stream,
    link: LinkSettings,
    *,
    controller: Controller = Controller.TRAIN,
    player: bool = False,
    fec: bool = True,
    seed: int = 1,
) -> Iterator[NativeViewer]:
    """Watch ``stream`` through a relay."""
    with Hub(["127.0.0.1"]) as hub:
        here = hub.addresses[0]
        with Relay(link, f"{here.host}:{here.port}", seed=seed) as relay:
            near = Address("127.0.0.1", relay.port)
            assert host.send(0, near, STUN)
            far = _first_datagram(hub).source
            there, here_peer = host.open_peer(), hub.open_peer()
            there.set_path(0, near)
            here_peer.set_path(0, far)
            there.set_keys(SrtpProfile.AEAD_AES_128_GCM, KEY, KEY[::-1])
            here_peer.set_keys(SrtpProfile.AEAD_AES_128_GCM, KEY[::-1], KEY)
            settings = ReceiveSettings(
                Codec.H264,
                payload_type=96,
                rtx_payload_type=97,
                fec_payload_type=98 if fec else 0,
                transport_cc_id=3,
                picture_depth=1,
                read_pattern=True,
            )
            with Reception(here_peer, settings) as reception:
                there.send(
                    stream,
                    MediaSettings(
                        Codec.H264,
                        payload_type=96,
                        ssrc=0x1234,
                        rtx_payload_type=97,
                        rtx_ssrc=0x5678,
                        fec_payload_type=98 if fec else 0,
                        fec_ssrc=0x9ABC,
                        transport_cc_id=3,
                        controller=controller,
                        player=player,
                    ),
                )
                yield NativeViewer(there, reception, relay)
                there.close()
