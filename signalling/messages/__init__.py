"""The wire messages of signalling, version 2: the one schema of server, host and web viewer.

Each WebSocket text frame is one JSON object whose ``type`` names the message.

A session::

    viewer                     server                      host
      | -- hello --------------> | <-------------- hello -- |   (token, room, role)
      | <------------- welcome - | - welcome -------------> |
      |                          | - peer-joined ---------> |
      | <--------------- offer - | <-------------- offer -- |   (host offers)
      | -- answer -------------> | - answer --------------> |
      | <-- candidate ---------> | <---------- candidate -> |   (trickle ICE, RFC 8838)
      | -- restart ------------> | - restart -------------> |   (its path is broken)
      | <--------------- offer - | <-------------- offer -- |   (the same session: ICE restart)
      | -- control-request ----> | - controls ------------> |
      | <------------ controls - | <------ control-grant -- |
      | <--------- permissions - | - permissions ---------> |   (the host enforces them)
      | <------ token-expiring - | - token-expiring ------> |   (each for its own token)
      | -- token --------------> | <-------------- token -- |
      | <------ token-accepted - | - token-accepted ------> |
      | -- bye ----------------> | - peer-left -----------> |

A host may answer a viewer's joining with ``refused`` instead, and offer later.

A connection ends with its token (close code 4401) unless a fresh one of the same bearer, good for
the same room and role, comes first. Tokens travel in ``hello`` and ``token`` alone, never in a URL.

A client whose link to the server breaks is *away*: its seat, its controls and what is said to it
are kept for a while, and ``hello.resume`` goes on with it, on whichever server. One that comes
back later joins under a new ``peer``; the ``seat`` of the host's offer, said again in its
``hello``, then tells the host that this is the viewer whose picture is on. Only the host judges
seats.
"""

from .base import Message, Request, RoomMessage
from .codec import (
    MAX_DEPTH,
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_SERVER_MESSAGE_BYTES,
    MessageError,
    MessageTooLarge,
    decode_client,
    decode_server,
    encode,
)
from .control import (
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    Controls,
    ControlState,
    ControlTake,
    Grant,
    Permission,
    Permissions,
    Revoke,
)
from .errors import CLOSE_CODES, MEANINGS, Error, ErrorCode, Meaning
from .fields import (
    CandidateLine,
    Capability,
    ChatText,
    Control,
    ControlPolicy,
    DisplayName,
    Duration,
    IceServer,
    Mid,
    PeerId,
    Policy,
    Privacy,
    RequestId,
    Role,
    RoomName,
    Sdp,
    Seat,
    Sentence,
    Sequence,
    SessionSecret,
    Subject,
    Token,
    TraceParent,
    Version,
)
from .media import Answer, Candidate, Offer, Refused, Relayed, Restart
from .room import (
    Admit,
    AppId,
    Ban,
    BanEntry,
    Bans,
    Capacity,
    Chat,
    ChatMessage,
    Configure,
    Invite,
    Invited,
    Kick,
    Pads,
    Promote,
    RoomSettings,
    Settings,
    Title,
    Unban,
)
from .session import (
    PROTOCOL_VERSION,
    SUBPROTOCOL,
    Bye,
    Done,
    FreshToken,
    Hello,
    PeerJoined,
    PeerLeft,
    Ping,
    Pong,
    Resume,
    Span,
    TokenAccepted,
    TokenExpiring,
    Trace,
    Waiting,
    Welcome,
)
from .types import ClientMessage, RoomRequest, ServerMessage

__all__ = [
    "CLOSE_CODES",
    "MAX_DEPTH",
    "MAX_HELLO_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_SERVER_MESSAGE_BYTES",
    "MEANINGS",
    "PROTOCOL_VERSION",
    "SUBPROTOCOL",
    "Admit",
    "Answer",
    "AppId",
    "Ban",
    "BanEntry",
    "Bans",
    "Bye",
    "Candidate",
    "CandidateLine",
    "Capability",
    "Capacity",
    "Chat",
    "ChatMessage",
    "ChatText",
    "ClientMessage",
    "Configure",
    "Control",
    "ControlDeny",
    "ControlGive",
    "ControlGrant",
    "ControlPolicy",
    "ControlRelease",
    "ControlRequest",
    "ControlState",
    "ControlTake",
    "Controls",
    "DisplayName",
    "Done",
    "Duration",
    "Error",
    "ErrorCode",
    "FreshToken",
    "Grant",
    "Hello",
    "IceServer",
    "Invite",
    "Invited",
    "Kick",
    "Meaning",
    "Message",
    "MessageError",
    "MessageTooLarge",
    "Mid",
    "Offer",
    "Pads",
    "PeerId",
    "PeerJoined",
    "PeerLeft",
    "Permission",
    "Permissions",
    "Ping",
    "Policy",
    "Pong",
    "Privacy",
    "Promote",
    "Refused",
    "Relayed",
    "Request",
    "RequestId",
    "Restart",
    "Resume",
    "Revoke",
    "Role",
    "RoomMessage",
    "RoomName",
    "RoomRequest",
    "RoomSettings",
    "Sdp",
    "Seat",
    "Sentence",
    "Sequence",
    "ServerMessage",
    "SessionSecret",
    "Settings",
    "Span",
    "Subject",
    "Title",
    "Token",
    "TokenAccepted",
    "TokenExpiring",
    "Trace",
    "TraceParent",
    "Unban",
    "Version",
    "Waiting",
    "Welcome",
    "decode_client",
    "decode_server",
    "encode",
]
