import pytest

from integrations.secrets import FixedSecrets, Secrets
from integrations.turn_servers import turn_source
from signalling.messages import IceServer
from signalling.turn import turn_credentials

STUN = IceServer(["stun:stun.example:3478"])
REGIONS = ("eu=turn:eu.example:3478", "us=turn:us.example:3478")


class Changing:
    """A source whose value can be set."""

    lifetime_s = 0.0

    def __init__(self, value):
        self.value = value

    async def read(self, name):
        assert name == "turn.secret"
        return self.value


async def asked(source, **how):
    return source.ice_servers(room="den", peer="p1", now=1_000.0, **how)


async def test_a_secret_that_changes_is_used_from_then_on():
    values = Changing("old")
    secrets = Secrets([values])
    source = await turn_source(REGIONS, secrets, static=[STUN], lifetime_s=60, home="us")
    stun, turn = await asked(source)
    assert stun == STUN
    assert turn.urls == ["turn:us.example:3478"]
    assert turn.credential == turn_credentials("old", "p1", 1060)[1]
    values.value = "new"
    await secrets.poll()
    assert (await asked(source))[1].credential == turn_credentials("new", "p1", 1060)[1]


async def test_without_regions_there_are_the_static_servers():
    source = await turn_source((), Secrets([]), static=[STUN], lifetime_s=60)
    assert await asked(source) == [STUN]


@pytest.mark.parametrize(
    ("regions", "home", "values", "said"),
    [
        (REGIONS, "", {}, "turn.secret: "),
        (("turn:eu.example",), "", {"turn.secret": "x"}, "turn.regions: "),
        (REGIONS, "mars", {"turn.secret": "x"}, "turn.home: "),
    ],
)
async def test_what_is_wrong_is_named(regions, home, values, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        await turn_source(regions, Secrets([FixedSecrets(values)]), lifetime_s=60, home=home)
