"""How the server is, over HTTP: for load balancers, for Prometheus, for a list of rooms."""

from __future__ import annotations

import asyncio
import hmac
from http import HTTPStatus

import msgspec

from .bus import Bus, BusUnavailable
from .http11 import Request, Response
from .identity import KeyHolder
from .limits import Address, is_within
from .metrics import CONTENT_TYPE
from .rooms import RoomCard
from .services import Services

ROOMS_S = 1.0
"""How old the list of rooms may be, in seconds."""

_NO_STORE = ("Cache-Control", "no-store")


class _Rooms(msgspec.Struct, frozen=True):
    rooms: list[RoomCard]


class Health:
    """The pages of one server that are about itself."""

    def __init__(self, services: Services, bus: Bus) -> None:
        self.draining = False
        self._services = services
        self._bus = bus
        self._rooms = Response(HTTPStatus.OK)
        self._rooms_until = -1.0
        self._asking = asyncio.Lock()

    def alive(self) -> Response:
        """``/healthz``: the event loop runs."""
        return Response.words(HTTPStatus.OK, "ok", _NO_STORE)

    def ready(self) -> Response:
        """``/readyz``: whether clients should be sent here; if not, why not, a line each."""
        reasons = self.reasons()
        if not reasons:
            return Response.words(HTTPStatus.OK, "ready", _NO_STORE)
        return Response.words(HTTPStatus.SERVICE_UNAVAILABLE, "\n".join(reasons), _NO_STORE)

    def reasons(self) -> list[str]:
        """Why this server is not ready. Empty: it is."""
        reasons = []
        if self.draining:
            reasons.append("draining: the server is shutting down")
        if not self._bus.available:
            reasons.append("bus: Redis cannot be reached")
        verifier = self._services.settings.verifier
        if isinstance(verifier, KeyHolder) and verifier.missing:
            reasons.append(f"keys: {verifier.missing}")
        return reasons

    def metrics(self, request: Request, client: Address | None) -> Response:
        """``/metrics``, for those whom the settings name; nobody else is told that it is there."""
        if not self._may_read_metrics(request, client):
            return Response.words(HTTPStatus.NOT_FOUND, "There is no such page here.")
        body = self._services.metrics.render()
        return Response(HTTPStatus.OK, body, CONTENT_TYPE, (_NO_STORE,))

    def _may_read_metrics(self, request: Request, client: Address | None) -> bool:
        settings = self._services.settings
        if not settings.metrics_token:
            return is_within(client, settings.metrics_networks)
        scheme, _, token = (request.get("authorization") or "").partition(" ")
        shown = token.strip().encode() if scheme.lower() == "bearer" else b""
        return hmac.compare_digest(shown, settings.metrics_token.encode())

    async def rooms(self) -> Response:
        """``/rooms``: the public rooms of all servers, as JSON."""
        async with self._asking:  # however many ask, the bus is asked once
            now = self._services.now()
            if now >= self._rooms_until:
                self._rooms = await self._ask_for_rooms()
                self._rooms_until = now + ROOMS_S
        return self._rooms

    async def _ask_for_rooms(self) -> Response:
        try:
            cards = await self._services.switchboard.directory()
        except BusUnavailable:
            text = "The list of rooms cannot be had now."
            retry = ("Retry-After", "2")
            return Response.words(HTTPStatus.SERVICE_UNAVAILABLE, text, _NO_STORE, retry)
        body = msgspec.json.encode(_Rooms(cards))
        cache = ("Cache-Control", f"max-age={ROOMS_S:.0f}")
        return Response(HTTPStatus.OK, body, "application/json", (cache,))
