"""Events: what happened, told to whoever wants to act on it.

:class:`.bus.EventBus` is the way in and out; :mod:`.envelope` is what travels, :mod:`.types` what
it says. :class:`.records.RecordEvents` publishes what a signalling server does.
"""

from .bus import BusSettings, EventBus
from .envelope import Event, EventError, decode_event, encode_event, validate
from .log import NEWEST, OLDEST, Backlog, DeadLetter, EventLog, EventsUnavailable, Retention
from .memory_log import MemoryLog
from .middleware import Deduplicate, Handler, Middleware, Traced
from .outbox import Outbox
from .records import RecordEvents
from .redis_log import RedisLog
from .routing import Route, all_of, from_source, in_room
from .subscription import Subscription, SubscriptionSettings

__all__ = [
    "NEWEST",
    "OLDEST",
    "Backlog",
    "BusSettings",
    "DeadLetter",
    "Deduplicate",
    "Event",
    "EventBus",
    "EventError",
    "EventLog",
    "EventsUnavailable",
    "Handler",
    "MemoryLog",
    "Middleware",
    "Outbox",
    "RecordEvents",
    "RedisLog",
    "Retention",
    "Route",
    "Subscription",
    "SubscriptionSettings",
    "Traced",
    "all_of",
    "decode_event",
    "encode_event",
    "from_source",
    "in_room",
    "validate",
]
