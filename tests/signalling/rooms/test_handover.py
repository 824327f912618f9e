import random

import pytest

from signalling.messages import RoomSettings
from signalling.rooms.handover import (
    MAX_QUEUE,
    MAX_QUEUE_OF_INVITATION,
    NOTICE_S,
    Bearer,
    Change,
    Handover,
    controls_of,
    next_end,
)
from signalling.rooms.refusal import Refusal


class Table:
    """The controls of a room in which everyone named in ``players`` may be given one."""

    def __init__(self, **settings):
        self.settings = RoomSettings(**settings)
        self.slots = {}
        self.now = 100.0
        self.players = {"a", "b", "c", "d"}
        self.bearers = {}
        """Who is not alone with their subject."""
        self.rules.fit()

    @property
    def rules(self):
        def bearer(peer):
            return self.bearers.get(peer, Bearer(peer, peer))

        return Handover(self.slots, self.settings, self.players.__contains__, bearer, self.now)

    def configure(self, **settings):
        self.settings = RoomSettings(**settings)
        return self.rules.fit()

    def pass_until_due(self):
        self.now = next_end(self.slots.values())
        return self.rules.expire()

    def holder(self, control="pad:1"):
        return self.slots[control].holder

    def queue(self, control="pad:1"):
        return self.slots[control].queue

    def until(self, control="pad:1"):
        return self.slots[control].until


def refused(call, *args):
    with pytest.raises(Refusal) as caught:
        call(*args)
    return caught.value


def test_the_settings_say_which_controls_there_are():
    assert controls_of(RoomSettings(pads=2)) == ["pad:1", "pad:2", "keyboard", "mouse"]
    assert controls_of(RoomSettings(pads=1, keyboard=False)) == ["pad:1"]
    assert controls_of(RoomSettings(pads=0, keyboard=False)) == []


# ask --------------------------------------------------------------------------------------------


def test_where_the_host_is_asked_a_request_waits_for_its_word():
    table = Table(control_policy="ask")
    change = table.rules.request("pad:1", "a")
    assert (table.holder(), table.queue()) == (None, ["a"])
    assert (list(change.slots), change.gained, list(change.peers)) == (["pad:1"], [], [])
    change = table.rules.grant("pad:1", "a", None)
    assert (table.holder(), table.queue(), table.until()) == ("a", [], None)
    assert (change.gained, list(change.peers)) == ([("a", "pad:1")], ["a"])


def test_a_grant_takes_the_control_from_whoever_has_it_and_may_end():
    table = Table(control_policy="ask")
    table.rules.grant("mouse", "a", None)
    change = table.rules.grant("mouse", "b", 160.0)
    assert (table.holder("mouse"), table.until("mouse")) == ("b", 160.0)
    assert (change.lost, change.gained) == ([("a", "mouse")], [("b", "mouse")])
    table.now = 159.0
    assert table.rules.expire() == Change()
    assert table.holder("mouse") == "b"
    change = table.pass_until_due()
    assert (table.now, table.holder("mouse"), change.lost) == (160.0, None, [("b", "mouse")])


def test_a_second_grant_to_the_same_one_changes_the_end_alone():
    table = Table(control_policy="ask")
    table.rules.grant("pad:1", "a", 160.0)
    change = table.rules.grant("pad:1", "a", None)
    assert (table.holder(), table.until()) == ("a", None)
    assert (change.lost, change.gained, list(change.peers)) == ([], [], ["a"])


def test_a_denied_request_is_gone_and_one_that_is_gone_cannot_be_denied():
    table = Table(control_policy="ask")
    table.rules.request("pad:1", "a")
    table.rules.request("pad:1", "b")
    table.rules.deny("pad:1", "a")
    assert table.queue() == ["b"]
    assert refused(table.rules.deny, "pad:1", "a").code == "conflict"
    assert table.queue() == ["b"]


def test_what_is_released_or_taken_is_nobodys_until_the_host_gives_it():
    table = Table(control_policy="ask")
    table.rules.request("pad:1", "b")
    table.rules.grant("pad:1", "a", None)
    table.rules.release("pad:1", "a")
    assert (table.holder(), table.queue()) == (None, ["b"])
    table.rules.grant("pad:1", "a", None)
    change = table.rules.take("pad:1")
    assert (table.holder(), table.queue(), change.lost) == (None, ["b"], [("a", "pad:1")])


def test_asking_twice_and_releasing_what_one_has_not_changes_nothing():
    table = Table(control_policy="ask")
    table.rules.request("pad:1", "a")
    assert table.rules.request("pad:1", "a") == Change()
    table.rules.grant("pad:2", "a", None)
    assert table.rules.request("pad:2", "a") == Change()
    assert table.rules.release("mouse", "a") == Change()
    assert table.rules.take("mouse") == Change()


def test_a_user_waits_once_for_each_control_whatever_the_windows():
    table = Table(control_policy="ask")
    table.bearers = {"a": Bearer("ann", "ann"), "b": Bearer("ann", "ann")}
    table.rules.request("pad:1", "a")
    refusal = refused(table.rules.request, "pad:1", "b")
    assert (refusal.code, refusal.retry) == ("conflict", True)
    table.rules.request("pad:2", "b")
    table.rules.request("pad:1", "c")
    assert (table.queue(), table.queue("pad:2")) == (["a", "c"], ["b"])
    table.rules.release("pad:1", "a")
    table.rules.request("pad:1", "b")
    assert table.queue() == ["c", "b"]


def test_one_invitation_does_not_fill_a_queue():
    table = Table(control_policy="ask")
    guests = [f"i{number}" for number in range(MAX_QUEUE_OF_INVITATION + 1)]
    table.bearers = {guest: Bearer(guest, "invite:x") for guest in guests}
    for guest in guests[:-1]:
        table.rules.request("pad:1", guest)
    refusal = refused(table.rules.request, "pad:1", guests[-1])
    assert (refusal.code, refusal.retry) == ("conflict", True)
    table.rules.request("pad:2", guests[-1])
    table.rules.request("pad:1", "a")
    assert table.queue() == [*guests[:-1], "a"]
    assert len(guests) * 2 < MAX_QUEUE


@pytest.mark.parametrize("policy", ["free", "turns"])
def test_a_user_has_one_pad_whatever_the_windows(policy):
    table = Table(control_policy=policy)
    table.bearers = {"a": Bearer("ann", "ann"), "b": Bearer("ann", "ann")}
    table.rules.request("pad:1", "a")
    assert refused(table.rules.request, "pad:2", "b").code == "conflict"
    table.rules.request("keyboard", "b")
    table.rules.release("pad:1", "a")
    table.rules.request("pad:2", "b")
    assert (table.holder("pad:2"), table.holder("keyboard")) == ("b", "b")


def test_a_user_who_gets_a_pad_waits_for_no_other_in_another_window():
    table = Table(control_policy="free")
    table.bearers = {"a": Bearer("ann", "ann"), "b": Bearer("ann", "ann")}
    table.rules.grant("pad:1", "c", None)
    table.rules.grant("pad:2", "d", None)
    table.rules.request("pad:1", "a")
    table.rules.request("pad:2", "b")
    table.rules.take("pad:1")
    assert (table.holder(), table.queue("pad:2")) == ("a", [])


def test_a_request_can_be_withdrawn():
    table = Table(control_policy="ask")
    table.rules.request("pad:1", "a")
    change = table.rules.release("pad:1", "a")
    assert (table.queue(), list(change.slots), change.lost) == ([], ["pad:1"], [])


def test_a_control_that_is_not_there_is_named():
    table = Table(pads=1, keyboard=False)
    for call in (table.rules.request, table.rules.release, table.rules.deny):
        refusal = refused(call, "pad:2", "a")
        assert (refusal.code, refusal.text) == ("conflict", "there is no pad:2 in this room")
    assert refused(table.rules.take, "mouse").code == "conflict"
    assert refused(table.rules.give, "mouse", "a", "b").code == "conflict"
    assert refused(table.rules.grant, "mouse", "a", None).code == "conflict"


def test_a_queue_has_an_end():
    table = Table(control_policy="ask")
    for number in range(MAX_QUEUE):
        table.rules.request("pad:1", f"p{number}")
    refusal = refused(table.rules.request, "pad:1", "a")
    assert (refusal.code, refusal.retry) == ("conflict", True)
    assert "a" not in table.queue()


# free -------------------------------------------------------------------------------------------


def test_where_controls_are_free_the_first_to_ask_has_one_and_the_next_waits():
    table = Table(control_policy="free")
    change = table.rules.request("pad:1", "a")
    assert (table.holder(), table.queue(), change.gained) == ("a", [], [("a", "pad:1")])
    table.rules.request("pad:1", "b")
    assert (table.holder(), table.queue(), table.until()) == ("a", ["b"], None)
    change = table.rules.release("pad:1", "a")
    assert (table.holder(), table.queue()) == ("b", [])
    assert (change.lost, change.gained) == ([("a", "pad:1")], [("b", "pad:1")])


def test_only_players_are_given_a_control_by_the_room():
    table = Table(control_policy="free")
    assert refused(table.rules.request, "pad:1", "somebody").code == "forbidden"
    table.rules.grant("pad:1", "somebody", None)
    assert table.holder() == "somebody"


def test_nobody_gets_a_second_pad_by_asking_but_keyboard_and_mouse_go_with_one():
    table = Table(control_policy="free")
    table.rules.request("pad:1", "a")
    refusal = refused(table.rules.request, "pad:2", "a")
    assert (refusal.code, refusal.text) == ("conflict", "you have pad:1 already: release it first")
    table.rules.request("keyboard", "a")
    table.rules.request("mouse", "a")
    assert {control for control, slot in table.slots.items() if slot.holder == "a"} == {
        "pad:1",
        "keyboard",
        "mouse",
    }


def test_who_waits_for_two_pads_gets_the_first_that_is_free_and_waits_no_longer():
    table = Table(control_policy="free", pads=2)
    table.rules.request("pad:1", "a")
    table.rules.request("pad:2", "b")
    table.rules.request("pad:1", "c")
    table.rules.request("pad:2", "c")
    change = table.rules.release("pad:2", "b")
    assert (table.holder("pad:2"), table.queue("pad:1"), table.queue("pad:2")) == ("c", [], [])
    assert set(change.slots) == {"pad:1", "pad:2"}


def test_who_is_away_is_passed_over_and_gets_it_on_coming_back():
    table = Table(control_policy="free")
    for peer in "abc":
        table.rules.request("pad:1", peer)
    table.players.discard("b")
    table.rules.release("pad:1", "a")
    assert (table.holder(), table.queue()) == ("c", ["b"])
    table.rules.leave("c")
    assert (table.holder(), table.queue()) == (None, ["b"])
    table.players.add("b")
    assert table.rules.settle().gained == [("b", "pad:1")]


def test_a_player_hands_its_control_to_another_and_nobody_else_can():
    table = Table(control_policy="free")
    table.rules.request("pad:1", "a")
    table.rules.request("pad:1", "b")
    table.rules.request("pad:1", "c")
    change = table.rules.give("pad:1", "a", "c")
    assert (table.holder(), table.queue()) == ("c", ["b"])
    assert (change.lost, change.gained) == ([("a", "pad:1")], [("c", "pad:1")])
    assert refused(table.rules.give, "pad:1", "a", "b").code == "conflict"
    assert table.rules.give("pad:1", "c", "c") == Change()


# turns ------------------------------------------------------------------------------------------


def test_a_turn_ends_only_while_somebody_waits():
    table = Table(control_policy="turns", turn_s=60.0)
    table.rules.request("pad:1", "a")
    assert table.until() is None
    table.now = 110.0
    change = table.rules.request("pad:1", "b")
    assert table.until() == 160.0  # counted from when a had it
    assert "a" in change.peers  # who is told
    table.rules.release("pad:1", "b")
    assert table.until() is None
    table.rules.request("pad:1", "b")
    change = table.pass_until_due()
    assert table.now == 160.0
    assert (table.holder(), table.queue(), table.until()) == ("b", [], None)
    assert (change.lost, change.gained) == ([("a", "pad:1")], [("b", "pad:1")])


def test_who_had_it_long_is_given_notice():
    table = Table(control_policy="turns", turn_s=60.0)
    table.rules.request("pad:1", "a")
    table.now = 1000.0
    table.rules.request("pad:1", "b")
    assert table.until() == 1000.0 + NOTICE_S
    table.now = 1003.0
    table.rules.request("pad:1", "c")
    assert table.until() == 1000.0 + NOTICE_S  # others do not put it off
    table.pass_until_due()
    assert (table.holder(), table.queue(), table.until()) == ("b", ["c"], 1000.0 + NOTICE_S + 60.0)


def test_turns_go_round():
    table = Table(control_policy="turns", turn_s=60.0)
    for peer in "abc":
        table.rules.request("pad:1", peer)
    had = [table.holder()]
    for _ in range(5):
        table.rules.request("pad:1", had[-1])
        before = table.holder()
        table.pass_until_due()
        table.rules.request("pad:1", before)
        had.append(table.holder())
    assert had == ["a", "b", "c", "a", "b", "c"]


def test_what_is_given_goes_on_for_the_rest_of_the_turn():
    table = Table(control_policy="turns", turn_s=60.0)
    table.rules.request("pad:1", "a")
    table.rules.request("pad:1", "b")
    table.now = 130.0
    table.rules.give("pad:1", "a", "c")
    assert (table.holder(), table.queue(), table.until()) == ("c", ["b"], 160.0)


def test_what_the_host_grants_is_no_turn():
    table = Table(control_policy="turns", turn_s=60.0)
    table.rules.grant("pad:1", "a", None)
    table.rules.request("pad:1", "b")
    assert table.until() is None
    table.rules.grant("pad:1", "a", 500.0)
    assert (table.holder(), table.until()) == ("a", 500.0)
    table.pass_until_due()
    assert (table.holder(), table.until()) == ("b", None)


def test_a_turn_does_not_end_for_somebody_who_could_not_have_the_control():
    table = Table(control_policy="turns", turn_s=60.0)
    table.rules.request("pad:1", "a")
    table.rules.request("pad:2", "b")
    table.slots["pad:1"].queue.append("b")  # waited when the host was asked
    table.slots["pad:1"].queue.append("gone")
    table.rules.settle()
    assert table.until("pad:1") is None
    table.rules.release("pad:2", "b")
    assert table.until("pad:1") == 160.0


# Others -----------------------------------------------------------------------------------------


def test_who_leaves_holds_nothing_and_waits_for_nothing():
    table = Table(control_policy="ask")
    table.rules.grant("pad:1", "a", None)
    table.rules.grant("mouse", "a", 500.0)
    table.rules.request("pad:2", "a")
    change = table.rules.leave("a")
    assert set(change.slots) == {"pad:1", "mouse", "pad:2"}
    assert sorted(change.lost) == [("a", "mouse"), ("a", "pad:1")]
    assert list(change.peers) == []  # nobody is there to be told
    assert all(slot.holder is None and not slot.queue for slot in table.slots.values())
    assert next_end(table.slots.values()) is None


def test_without_a_host_nobody_holds_anything():
    table = Table(control_policy="free")
    table.rules.request("pad:1", "a")
    table.rules.request("pad:1", "b")
    change = table.rules.clear()
    assert (table.holder(), table.queue()) == (None, [])
    assert change.lost == [("a", "pad:1")]


def test_a_pad_that_is_no_more_is_lost_and_a_new_one_comes():
    table = Table(pads=2, control_policy="free")
    table.rules.request("pad:2", "a")
    table.rules.request("pad:2", "b")
    change = table.configure(pads=1, control_policy="free")
    assert (change.lost, list(table.slots)) == ([("a", "pad:2")], ["pad:1", "keyboard", "mouse"])
    assert change.slots["pad:2"].queue == []
    change = table.configure(pads=3, control_policy="free")
    assert list(table.slots) == ["pad:1", "pad:2", "pad:3", "keyboard", "mouse"]


def test_another_policy_counts_at_once():
    table = Table(control_policy="ask")
    table.rules.request("pad:1", "a")
    table.rules.request("pad:1", "b")
    table.configure(control_policy="free")
    assert (table.holder(), table.queue(), table.until()) == ("a", ["b"], None)
    table.now = 130.0
    table.configure(control_policy="turns", turn_s=60.0)
    assert table.until() == 160.0
    table.configure(control_policy="turns", turn_s=10.0)
    assert table.until() == 130.0 + NOTICE_S
    table.configure(control_policy="ask")
    assert table.until() is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_done_the_controls_stay_in_order(seed):
    rng = random.Random(seed)
    table = Table(control_policy="turns", turn_s=30.0)
    peers = ["a", "b", "c", "d", "x"]
    for _ in range(300):
        table.now += rng.random() * 5
        control, peer, other = rng.choice(list(table.slots)), rng.choice(peers), rng.choice(peers)
        table.players ^= {rng.choice("abcd")} if rng.random() < 0.2 else set()
        held = {control: slot.holder for control, slot in table.slots.items()}
        rules = table.rules
        act, *arguments = rng.choice(
            [
                (rules.request, control, peer),
                (rules.release, control, peer),
                (rules.give, control, peer, other),
                (rules.grant, control, peer, table.now + rng.random() * 60),
                (rules.deny, control, peer),
                (rules.take, control),
                (rules.leave, peer),
                (rules.expire,),
                (rules.settle,),
                (configure_somehow, table, rng),
            ]
        )
        try:
            change = act(*arguments)
        except Refusal:
            continue
        for control, slot in table.slots.items():
            assert slot.holder not in slot.queue
            assert len(set(slot.queue)) == len(slot.queue)
            assert slot.until is None or slot.holder is not None
            if held.get(control) != slot.holder:
                assert change.slots[control] is slot
                assert slot.holder is None or slot.holder in change.peers
            if slot.holder is None and table.settings.control_policy != "ask":
                pads = {s.holder for c, s in table.slots.items() if c.startswith("pad:")}
                heirs = [p for p in slot.queue if p in table.players]
                assert not [p for p in heirs if p not in pads or not control.startswith("pad:")]
        for control, peer in held.items():
            slot = table.slots.get(control)
            if peer is not None and (slot is None or slot.holder != peer):
                assert (peer, control) in change.lost


def configure_somehow(table, rng):
    policy = rng.choice(["ask", "free", "turns"])
    return table.configure(control_policy=policy, pads=rng.randrange(3, 5))
