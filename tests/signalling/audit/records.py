"""Records for tests, and the lines of a log."""

import json

from signalling.records import Record


def granted(n, **more):
    """The ``n``-th record, at a time of its own."""
    fields = {"room": "den", "actor": "host", "subject": f"user{n}", "peer": f"p{n}", **more}
    return Record(
        type="control.granted", at=1_700_000_000.0 + n, data={"control": "pad:1"}, **fields
    )


def entries(*files):
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def subjects(*files):
    """Of what was recorded, without what the log says of itself."""
    found = entries(*files)
    return [e["subject"] for e in found if e and not e["type"].startswith("audit.")]
