"""What is where over HTTP, and who may come in: the server's :class:`.http_connection.Site`."""

from __future__ import annotations

import email.utils
import logging
import math
from collections.abc import Callable, Coroutine
from functools import partial
from http import HTTPStatus
from typing import Any

from .connection import Connection
from .handshake import accept_key
from .health import Health
from .http11 import Request, Response
from .http_connection import Answer, HttpConnection, Peer, Upgrade
from .limits import Address, Hush, Occupancy, address_key, client_address, is_within
from .messages import MAX_MESSAGE_BYTES, SUBPROTOCOL
from .net import is_loopback
from .services import Services
from .static import HSTS, SECURITY_FIELDS, StaticFiles
from .websocket import Reactor, WebSocket

log = logging.getLogger(__name__)

WEBSOCKET_PATH = "/ws"

ORIGIN_LOG_S = 60.0
"""How often a page of another origin is logged: anybody can send as many as they like."""


class Site:
    """The connections of one server and what they are answered."""

    def __init__(self, services: Services, health: Health, files: StaticFiles) -> None:
        settings = services.settings
        self.reactor = Reactor(
            max_message_bytes=MAX_MESSAGE_BYTES,
            outbox_bytes=settings.limits.outbox_bytes,
            close_timeout_s=settings.close_timeout_s,
        )
        self.requesting: set[HttpConnection] = set()
        self.open_connections = 0
        self._services = services
        self._health = health
        self._files = files
        self._addresses = Occupancy(settings.limits.max_connections_per_address)
        self._origin_logged_at = -math.inf
        self._hush = Hush(settings.limits)
        self._date = (0, "")

    @property
    def head_timeout_s(self) -> float:
        return self._services.settings.hello_timeout_s

    @property
    def answer_timeout_s(self) -> float:
        return self._services.settings.write_timeout_s

    @property
    def linger_s(self) -> float:
        return self._services.settings.close_timeout_s

    def run(self, work: Coroutine[Any, Any, None]) -> object:
        return self._services.run(work)

    # TCP connections -----------------------------------------------------------------------------

    def opened(self, peer: Peer) -> bool:
        services = self._services
        if self.open_connections >= services.settings.limits.max_connections:
            services.metrics.refused("connections")
            return False
        if not self._is_proxy(peer) and not self._enter(address_key(peer.address)):
            return False
        self.open_connections += 1
        return True

    def closed(self, peer: Peer) -> None:
        self.open_connections -= 1
        if not self._is_proxy(peer):
            self._addresses.leave(address_key(peer.address))

    def _enter(self, address: str) -> bool:
        if self._hush.covers(address, self._services.now()):
            self._services.metrics.refused("address.refusals")
            return False
        if self._addresses.enter(address):
            return True
        self._services.metrics.refused("address.connections")
        return False

    def _is_proxy(self, peer: Peer) -> bool:
        return is_within(peer.address, self._services.settings.proxies)

    # Requests ------------------------------------------------------------------------------------

    def common_fields(self, peer: Peer) -> tuple[tuple[str, str], ...]:
        now = int(self._services.unix_time())
        if self._date[0] != now:
            self._date = (now, email.utils.formatdate(now, usegmt=True))
        date = ("Date", self._date[1])
        return (date, *SECURITY_FIELDS, HSTS) if peer.tls else (date, *SECURITY_FIELDS)

    def answer(self, request: Request, peer: Peer) -> Answer:
        if request.method not in ("GET", "HEAD"):
            allow = ("Allow", "GET, HEAD")
            return Response.words(HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD only", allow)
        match request.path:
            case "/ws":
                return self._open(request, peer)
            case "/healthz":
                return self._health.alive()
            case "/readyz":
                return self._health.ready()
            case "/metrics":
                return self._health.metrics(request, self._metrics_reader(request, peer))
            case "/rooms":
                return self._health.rooms()
            case _:
                return self._files.respond(request)

    def _metrics_reader(self, request: Request, peer: Peer) -> Address | None:
        """Who asks; nobody, when a proxy asks that nobody has declared: it may ask for anyone."""
        forwarded = request.get_all("x-forwarded-for")
        if not self._is_proxy(peer) and (forwarded or request.get_all("forwarded")):
            return None
        return self._client(request, peer)

    def _client(self, request: Request, peer: Peer) -> Address | None:
        forwarded = request.get_all("x-forwarded-for")
        return client_address(peer.address, forwarded, self._services.settings.proxies)

    # WebSockets ----------------------------------------------------------------------------------

    def _open(self, request: Request, peer: Peer) -> Response | Upgrade:
        if request.minor_version < 1:  # RFC 6455 section 4.1, RFC 9110 section 7.8
            text = (
                "A WebSocket is opened by HTTP/1.1: a proxy in front has to speak that to this"
                " server (nginx: proxy_http_version 1.1)."
            )
            return Response.words(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, text)
        key = accept_key(request)
        if key is None:
            text = "This is a WebSocket: it takes an opening handshake of RFC 6455."
            fields = (
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
            )
            return Response.words(HTTPStatus.UPGRADE_REQUIRED, text, *fields)
        if not self._origin_allowed(request, peer):
            self._services.metrics.refused("origin")
            self._log_origin(request)
            text = "This page's origin may not connect here: see the setting 'origins'."
            return Response.words(HTTPStatus.FORBIDDEN, text)
        if self._health.draining:
            text = "This server is shutting down: connect to another, or again."
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, text, 1)
        address = address_key(self._client(request, peer))
        refusal = self._refusal(address)
        if refusal is not None:
            self._hush.refused(address, self._services.now())
            return refusal
        return self._upgrade(request, peer, key, address)

    def _refusal(self, address: str) -> Response | None:
        services, now = self._services, self._services.now()
        if wait := services.backoff.wait(address, now):
            services.metrics.refused("address.failures")
            text = "Too many bad tokens came from your address."
            return _later(HTTPStatus.TOO_MANY_REQUESTS, text, wait)
        if wait := services.limiter.take("address.handshake", address, now):
            services.metrics.refused("address.handshake")
            text = "Too many connections are opened from your address."
            return _later(HTTPStatus.TOO_MANY_REQUESTS, text, wait)
        return None

    def _upgrade(self, request: Request, peer: Peer, key: str, address: str) -> Response | Upgrade:
        # The TCP connection counts already, but for a proxy's: there it is the client that does.
        behind_proxy = self._is_proxy(peer)
        if behind_proxy and not self._enter(address):
            text = "There are too many connections from your address."
            return _later(HTTPStatus.TOO_MANY_REQUESTS, text, 1)

        when_closed = partial(self._left, peer, address if behind_proxy else None)
        # A client that offers no subprotocol, or others, is let in all the same.
        offers = ",".join(request.get_all("sec-websocket-protocol")).split(",")
        offered = SUBPROTOCOL in (offer.strip() for offer in offers)  # their case counts
        return Upgrade(
            key,
            partial(self._accept, address, when_closed),
            subprotocol=SUBPROTOCOL if offered else None,
        )

    def _accept(
        self, address: str, when_closed: Callable[[], None], websocket: WebSocket
    ) -> Connection:
        return Connection(self._services, websocket, address, when_closed)

    def _left(self, peer: Peer, entered: str | None) -> None:
        self.closed(peer)
        if entered is not None:
            self._addresses.leave(entered)

    def _origin_allowed(self, request: Request, peer: Peer) -> bool:
        """Whether the page that opens this WebSocket is ours (RFC 6455 section 10.2).

        Without TLS here there may be some in front: then both schemes are ours. With it, whoever is
        on the way could have made a page of the other scheme.
        """
        origins = request.get_all("origin")
        if not origins:
            return True  # not a browser
        if len(origins) > 1:
            return False
        if origins[0] in self._services.settings.origins:
            return True
        scheme, _, authority = origins[0].lower().partition("://")
        if scheme != "https" and (peer.tls or scheme != "http"):
            return False
        host = request.host
        if self._services.settings.verifier.loopback_only and not is_loopback(_name(host)):
            return False  # a page whose name has been made to lead to this machine
        return bool(host) and _authority(scheme, authority) == _authority(scheme, host)

    def _log_origin(self, request: Request) -> None:
        now = self._services.now()
        if now - self._origin_logged_at >= ORIGIN_LOG_S:
            self._origin_logged_at = now
            log.warning(
                "refused a WebSocket from a page of another origin, %.100s: see the setting"
                " 'origins' (more are counted, not logged, for %.0f s)",
                ascii(", ".join(request.get_all("origin"))),
                ORIGIN_LOG_S,
            )


def _later(status: HTTPStatus, text: str, wait_s: float) -> Response:
    return Response.words(status, text, ("Retry-After", str(math.ceil(wait_s))))


def _name(host: str) -> str:
    """Without the port."""
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _authority(scheme: str, authority: str) -> str:
    default_port = {"http": ":80", "https": ":443"}.get(scheme, "")
    return authority.lower().removesuffix(default_port)
