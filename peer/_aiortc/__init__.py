"""The only package that touches private parts of aiortc and aioice; each place says why.

aioice owns its sockets, its pace and its give-up rules; aiortc owns the SRTP keys. Here the
sockets and the keys belong to the hub, checks are paced for fast joining, and a connection lives
on while a viewer changes networks. `tests/peer/test_aiortc_contract.py` pins every private name
used in here, so that an upgrade of either library fails there and nowhere else.

=============  =====================================================================
`agent`        ICE: aioice's connection on ports of the hub
`turn`         TURN: allocations as ports of the hub
`dtls`         DTLS: SRTP keys for the hub
`rtp`          keyframe requests of a plain aiortc sender
=============  =====================================================================
"""

from peer._aiortc.agent import IceAgent, IceObserver, IceTiming, StunEndpoint
from peer._aiortc.dtls import DtlsLink, DtlsSession
from peer._aiortc.rtp import on_keyframe_request
from peer._aiortc.turn import RelayPort, open_relay, open_stream_relay

__all__ = [
    "DtlsLink",
    "DtlsSession",
    "IceAgent",
    "IceObserver",
    "IceTiming",
    "RelayPort",
    "StunEndpoint",
    "on_keyframe_request",
    "open_relay",
    "open_stream_relay",
]
