"""Some schedules of :mod:`.stress`, chosen because each does something that the others do not."""

import pytest

from . import stress


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "hasty"])
async def test_servers_keep_what_they_promise_whatever_fails(tmp_path, seed, strict):
    await stress.run(seed, tmp_path, strict=strict)
