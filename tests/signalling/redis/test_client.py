import pytest

from signalling.redis.settings import RedisAddress, RedisSettings


@pytest.mark.parametrize(
    ("url", "hosts", "rest"),
    [
        ("redis://h", [("h", 6379)], ("single", False, "", 0, None, None)),
        ("rediss://u:p%40@h:1/2", [("h", 1)], ("single", True, "", 2, "u", "p@")),
        ("redis://:p@[::1]:7", [("::1", 7)], ("single", False, "", 0, None, "p")),
        (
            "redis+sentinel://a,b:3/games/4",
            [("a", 26379), ("b", 3)],
            ("sentinel", False, "games", 4, None, None),
        ),
        ("rediss+cluster://a:1,b", [("a", 1), ("b", 6379)], ("cluster", True, "", 0, None, None)),
    ],
)
def test_a_url_is_taken_apart(url, hosts, rest):
    address = RedisAddress.parse(url)
    assert list(address.hosts) == hosts
    found = (address.kind, address.tls, address.service, address.database)
    assert (*found, address.username, address.password) == rest


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "takes redis://"),
        ("redis+ring://h", "takes redis://"),
        ("redis://", "takes redis://"),
        ("redis://h:99999", "takes redis://"),
        ("redis://h:x", "takes redis://"),
        ("redis://a,b", "several hosts"),
        ("redis+sentinel://a", "needs /SERVICE"),
        ("redis+cluster://a/1", "no numbered databases"),
        ("redis://h/one", "the database is a number"),
        ("redis://h?x=1", "nothing after"),
        ("redis://user:secret@h:x:y", "takes redis://"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_repeating_it(url, said):
    with pytest.raises(ValueError, match=r"^url: ") as raised:
        RedisSettings(url=url)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "wrong", [{"prefix": "a{b}"}, {"lease_s": 0.5}, {"timeout_s": 0}, {"log_length": 0}]
)
def test_a_setting_that_makes_no_sense_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name}: "):
        RedisSettings(url="redis://h", **wrong)


def test_no_password_is_shown():
    settings = RedisSettings(url="redis://user:secret@h")
    assert "secret" not in f"{settings!r} {settings.address!r} {settings.address}"
