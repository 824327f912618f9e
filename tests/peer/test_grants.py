"""What members may do: the table, and what is let go of."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from peer.grants import Grants, Release
from signalling.messages import ControlState, Permission

KEYBOARD, PAD, WATCH = "keyboard", "pad:1", "watch"


class Table:
    """Grants, and what was let go of."""

    def __init__(self) -> None:
        self.released: list[Release] = []
        self.grants = Grants(self.released.append)

    def permit(self, peer: str, *capabilities: str, until: float | None = None) -> None:
        self.grants.permit(peer, [Permission(name, until) for name in capabilities])


@pytest.fixture
def table() -> Table:
    return Table()


def test_nothing_is_allowed_that_is_not_named(table: Table) -> None:
    table.permit("anna", WATCH, PAD)
    grants = table.grants
    assert grants.allows("anna", PAD, 0.0)
    assert not grants.allows("anna", KEYBOARD, 0.0)
    assert not grants.allows("eve", PAD, 0.0)
    table.permit("anna", WATCH)
    assert not grants.allows("anna", PAD, 0.0)
    assert table.released == [Release("anna", PAD, (), "revoked")]


def test_a_grant_ends_by_itself_and_lets_go_once(table: Table) -> None:
    table.permit("anna", PAD, until=100.0)
    grants = table.grants
    assert grants.next_end() == 100.0
    assert grants.press("anna", PAD, "A", 99.9)
    assert not grants.allows("anna", PAD, 100.0), "not a moment longer, whenever expire() is called"
    assert not grants.press("anna", PAD, "B", 100.0)
    grants.expire(99.9)
    assert table.released == []
    for _ in range(2):
        grants.expire(100.0)
    assert table.released == [Release("anna", PAD, ("A",), "ended")]
    assert grants.next_end() is None


def test_a_longer_grant_takes_the_place_of_a_shorter_one(table: Table) -> None:
    table.permit("anna", PAD, until=100.0)
    table.grants.press("anna", PAD, "A", 0.0)
    table.permit("anna", PAD, until=200.0)
    table.grants.expire(100.0)
    assert table.released == []
    assert table.grants.lift("anna", PAD, "A"), "it was held all the time"


def test_what_is_let_go_of_is_held_no_more(table: Table) -> None:
    grants = table.grants
    table.permit("anna", PAD, KEYBOARD)
    for key in ("A", "B", "A"):
        assert grants.press("anna", PAD, key, 0.0)
    grants.press("anna", KEYBOARD, 30, 0.0)
    assert grants.lift("anna", PAD, "B")
    assert not grants.lift("anna", PAD, "B")
    assert not grants.lift("eve", PAD, "A")
    grants.let_go("anna")
    assert table.released == [
        Release("anna", PAD, ("A",), "disconnected"),
        Release("anna", KEYBOARD, (30,), "disconnected"),
    ]
    assert not grants.lift("anna", PAD, "A")
    assert grants.allows("anna", PAD, 0.0), "over another connection it may go on"


def test_a_control_has_one_holder(table: Table) -> None:
    grants = table.grants
    table.permit("anna", WATCH, PAD)
    grants.press("anna", PAD, "A", 0.0)
    table.permit("bob", WATCH, PAD)
    assert table.released == [Release("anna", PAD, ("A",), "handed over")]
    assert grants.allows("bob", PAD, 0.0)
    assert not grants.allows("anna", PAD, 0.0)
    assert grants.allows("anna", WATCH, 0.0), "any number may watch"
    grants.hand_over([ControlState(PAD, "carl")])
    assert not grants.allows("bob", PAD, 0.0)
    assert not grants.allows("carl", PAD, 0.0), "until the room permits it"
    table.permit("carl", PAD)
    grants.hand_over([ControlState(PAD, None)])
    assert table.released[-1] == Release("carl", PAD, (), "revoked")


def test_who_leaves_has_nothing(table: Table) -> None:
    table.permit("anna", WATCH, PAD)
    table.grants.press("anna", PAD, "A", 0.0)
    table.grants.drop("anna")
    table.grants.drop("anna")
    assert Release("anna", PAD, ("A",), "left") in table.released
    assert table.grants.of("anna") == {}


def test_a_new_account_of_the_room_ends_what_it_does_not_name(table: Table) -> None:
    table.permit("anna", WATCH, PAD)
    table.permit("bob", WATCH, KEYBOARD)
    table.permit("carl", WATCH, "mouse")
    table.grants.settle(["anna", "bob"], [ControlState(PAD, "anna"), ControlState("pad:2", "bob")])
    assert table.grants.of("anna").keys() == {WATCH, PAD}
    assert table.grants.of("bob").keys() == {WATCH}, "there is no keyboard any more"
    assert table.grants.of("carl") == {}


def test_nothing_is_allowed_while_nobody_could_take_it_back(table: Table) -> None:
    grants = table.grants
    table.permit("anna", PAD)
    grants.press("anna", PAD, "A", 0.0)
    grants.suspend()
    assert table.released == [Release("anna", PAD, ("A",), "cut off")]
    table.permit("bob", KEYBOARD)
    assert not grants.allows("anna", PAD, 0.0)
    assert not grants.allows("bob", KEYBOARD, 0.0)
    grants.resume()
    assert grants.allows("anna", PAD, 0.0)
    assert grants.allows("bob", KEYBOARD, 0.0)


PEERS = st.sampled_from(["anna", "bob", "carl"])
CAPABILITIES = st.sampled_from([WATCH, PAD, "pad:2", KEYBOARD])
KEYS = st.integers(0, 3)


class GrantsModel(RuleBasedStateMachine):
    """Whatever is said and done in whatever order: what is held is held by right, once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.down: set[tuple[str, str, int]] = set()
        self.suspended = False
        self.grants = Grants(self.release)

    def release(self, release: Release) -> None:
        for key in release.held:
            self.down.remove((release.peer, release.capability, key))  # type: ignore[arg-type]

    @rule(peer=PEERS, names=st.sets(CAPABILITIES), after=st.none() | st.floats(0, 5))
    def permit(self, peer: str, names: set[str], after: float | None) -> None:
        until = None if after is None else self.now + after
        self.grants.permit(peer, [Permission(name, until) for name in sorted(names)])

    @rule(control=st.sampled_from([PAD, "pad:2", KEYBOARD]), holder=st.none() | PEERS)
    def hand_over(self, control: str, holder: str | None) -> None:
        self.grants.hand_over([ControlState(control, holder)])

    @rule(peer=PEERS, name=CAPABILITIES, key=KEYS)
    def press(self, peer: str, name: str, key: int) -> None:
        if self.grants.press(peer, name, key, self.now):
            self.down.add((peer, name, key))

    @rule(peer=PEERS, name=CAPABILITIES, key=KEYS)
    def lift(self, peer: str, name: str, key: int) -> None:
        assert self.grants.lift(peer, name, key) is ((peer, name, key) in self.down)
        self.down.discard((peer, name, key))

    @rule(peer=PEERS)
    def drop(self, peer: str) -> None:
        self.grants.drop(peer)

    @rule(peer=PEERS)
    def let_go(self, peer: str) -> None:
        self.grants.let_go(peer)

    @rule(peers=st.sets(PEERS))
    def settle(self, peers: set[str]) -> None:
        self.grants.settle(peers, [])

    @rule(suspend=st.booleans())
    def cut_off(self, suspend: bool) -> None:
        self.suspended = suspend
        if suspend:
            self.grants.suspend()
        else:
            self.grants.resume()

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.grants.expire(self.now)

    @invariant()
    def what_is_down_is_allowed(self) -> None:
        assert all(self.grants.allows(peer, name, self.now) for peer, name, _ in self.down)
        assert not (self.suspended and self.down)

    @invariant()
    def a_control_has_one_holder(self) -> None:
        for control in (PAD, "pad:2", KEYBOARD):
            assert sum(control in self.grants.of(p) for p in ("anna", "bob", "carl")) <= 1


TestGrantsModel = GrantsModel.TestCase
TestGrantsModel.settings = settings(derandomize=True, deadline=None)
