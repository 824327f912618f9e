"""The audit log: who did what to whom, in lines that are chained by their hashes.

:class:`.log.AuditLog` takes the records of a server, :mod:`.chain` says what a line is and whether
a chain is whole, :mod:`.files` where lines are kept, :mod:`.command` is ``playcast audit``.
"""

from .chain import Finding, Report, verify
from .log import AUDITED, MIN_KEY_BYTES, AuditError, AuditLog, AuditSettings

__all__ = [
    "AUDITED",
    "MIN_KEY_BYTES",
    "AuditError",
    "AuditLog",
    "AuditSettings",
    "Finding",
    "Report",
    "verify",
]
