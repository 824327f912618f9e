"""Both logs, behind one fixture: what holds for one must hold for the other."""

import itertools

import pytest

from integrations.events import MemoryLog, RedisLog, Retention
from signalling.redis.settings import RedisSettings
from tests.signalling.redis import server as redis_server

_names = itertools.count()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    with redis_server.single(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["memory", "redis"])
async def make_log(request):
    """Makes logs that share nothing with those of other tests, and closes them."""
    made = []

    def make(**retention):
        if request.param == "memory":
            log = MemoryLog(Retention(**retention))
        else:
            url = request.getfixturevalue("redis_url")
            settings = RedisSettings(url=url)
            log = RedisLog(settings, Retention(**retention), name=f"log{next(_names)}")
        made.append(log)
        return log

    yield make
    for log in made:
        await log.close()
