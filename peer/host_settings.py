"""How a host takes viewers in, and what follows from it for each viewer's connection."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from native import SrtpProfile, StreamSettings, StreamStats
from peer.connection import ConnectionSettings
from peer.dtls import GCM_PROFILES
from peer.gathering import IceServer
from peer.sdp import VideoOffer
from signalling import messages


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """How viewers are taken in. Raises :class:`ValueError` naming the field that makes no sense."""

    max_viewers: int = 32
    """Connections at a time; who comes later waits until there is a place."""

    ice_servers: tuple[messages.IceServer, ...] = ()
    """STUN and TURN servers, besides those that signalling names."""

    cm80: bool = False
    """Offer SRTP_AES128_CM_SHA1_80 too. Chrome then prefers it, at a higher cost."""

    answer_timeout_s: float = 20.0
    """How long a viewer may take to answer an offer."""

    report_interval_s: float = 1.0

    room: messages.Configure = field(default_factory=messages.Configure)
    """How the room is to be run; what it leaves out stays as the server has it."""

    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    """The rest of what a connection takes; its video, servers and profiles come from above."""

    def __post_init__(self) -> None:
        if self.max_viewers < 1:
            raise ValueError(f"max_viewers: takes 1 or more, not {self.max_viewers}")
        for name in ("answer_timeout_s", "report_interval_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be greater than 0")

    def for_viewer(
        self,
        stats: StreamStats,
        stream: StreamSettings,
        servers: tuple[IceServer, ...],
        *,
        player: bool = False,
    ) -> ConnectionSettings:
        """The settings of one more connection; the SSRCs in it are its own."""
        profiles: tuple[SrtpProfile, ...] = GCM_PROFILES
        if self.cm80:
            profiles = (*GCM_PROFILES, SrtpProfile.AES128_CM_SHA1_80)
        return replace(
            self.connection,
            video=VideoOffer(
                width=stats.width,
                height=stats.height,
                fps=stream.fps,
                profiles=(stream.profile,),
                flexfec=self.connection.video.flexfec,
            ),
            data_channel=True,
            ice=replace(self.connection.ice, servers=servers),
            srtp_profiles=profiles,
            player=player,
        )
