import pytest

from signalling.messages import BanEntry, Bans, Candidate, ChatMessage, Done, Offer, encode
from signalling.rooms import history
from signalling.rooms.history import History
from signalling.rooms.state import Member, RoomState, Sent


def member(peer, *, joined_seq=0):
    return Member(
        peer=peer,
        link=peer,
        subject=peer,
        role="viewer",
        token_role="viewer",
        name="",
        seat="",
        secrets=(),
        window_s=30.0,
        traceparent="",
        joined_at=0.0,
        joined_seq=joined_seq,
    )


class Log:
    def __init__(self):
        self.state = RoomState(name="r", window_s=30.0)
        self.state.members = {peer: member(peer) for peer in "ab"}
        self.history = History(self.state)

    def say(self, *to, but=(), text="text"):
        state = self.state
        state.seq += 1
        message = ChatMessage("h", "H", "host", text, state.clock, seq=state.seq)
        self.history.keep(Sent(state.seq, state.clock, message, to or None, but))

    def missed(self, peer, seq):
        return [sent.seq for sent in self.history.missed(self.state.members[peer], seq)]

    def complete(self, peer, seq):
        return self.history.is_complete(self.state.members[peer], seq)


@pytest.fixture
def log():
    return Log()


def test_everyone_misses_what_was_for_them_in_order(log):
    log.say("a")
    log.say()
    log.say("b")
    log.say("a", "b")
    log.say(but=("a",))
    log.say()
    assert log.missed("a", 0) == [1, 2, 4, 6]
    assert log.missed("b", 0) == [2, 3, 4, 5, 6]
    assert log.missed("a", 2) == [4, 6]
    assert log.missed("b", 6) == []
    assert log.complete("a", 0)
    assert log.complete("b", 6)


def test_nobody_gets_what_was_said_before_they_came(log):
    log.say()
    log.say()
    log.state.members["c"] = member("c", joined_seq=1)
    assert log.missed("c", 0) == [2]
    assert log.complete("c", 0)


def test_a_number_that_is_not_yet_there_is_no_complete_one(log):
    log.say()
    assert not log.complete("a", 2)
    assert log.missed("a", 2) == []


def test_it_is_bounded_by_number_and_tells_who_lost_something(log, monkeypatch):
    monkeypatch.setattr(history, "MAX_MESSAGES", 100)
    log.say("a")
    log.say("b")
    for _ in range(99):
        log.say("a")
    assert len(log.state.recent) <= 100
    gone = log.state.members["a"].evicted_seq
    assert log.missed("a", 0) == list(range(gone + 1, 102))
    assert not log.complete("a", 0)
    assert not log.complete("a", gone - 1)
    assert log.complete("a", gone)
    assert not log.complete("b", 1)
    assert log.complete("b", 2)


def test_what_was_for_everyone_is_missed_by_everyone_who_was_there(log, monkeypatch):
    monkeypatch.setattr(history, "MAX_MESSAGES", 4)
    for _ in range(5):
        log.say()
    gone = log.state.evicted_seq
    assert gone > 0
    assert not log.complete("a", gone - 1)
    assert log.complete("a", gone)
    log.state.members["late"] = member("late", joined_seq=gone)
    assert log.complete("late", 0)


@pytest.mark.parametrize(
    "message", [Offer("a", "s" * 900), Bans([BanEntry("s" * 90, "n" * 60) for _ in range(6)])]
)
def test_it_is_bounded_by_size(log, monkeypatch, message):
    monkeypatch.setattr(history, "MAX_SIZE", 10_000)
    for number in range(1, 101):
        log.state.seq = number
        log.history.keep(Sent(number, 0.0, message, ("a",)))
        assert sum(len(encode(sent.message)) for sent in log.state.recent) <= 10_000
        assert log.state.recent_size <= 10_000
    kept = [sent.seq for sent in log.state.recent]
    assert kept == list(range(kept[0], 101))
    assert len(kept) >= 5
    assert log.state.recent_size == sum(history.size_of(s.message) for s in log.state.recent)


def test_it_is_bounded_by_age(log):
    for second in range(200):
        log.state.clock = float(second)
        log.say("a")
    oldest = log.state.recent[0].at
    assert 199 - 1.5 * 30 <= oldest <= 199 - 30


def test_an_old_answer_is_not_missed(log):
    log.say("a")
    log.state.seq += 1
    log.history.keep(Sent(2, 0.0, Done("7"), ("a",)))
    log.state.clock = 100.0
    log.say("b")
    assert [sent.seq for sent in log.state.recent] == [3]
    assert log.complete("a", 1)
    assert not log.complete("a", 0)


@pytest.mark.parametrize(
    ("message", "least"),
    [(Offer("a", "s" * 1000), 1000), (Candidate("a", "c" * 500), 500), (Done("1"), 1)],
)
def test_a_message_counts_with_its_text(message, least):
    assert least <= history.size_of(message) <= least + 300


def test_a_history_made_anew_knows_the_same(log):
    log.say("a")
    log.say()
    log.say("b", but=("a",))
    again = History(log.state)
    for peer in "ab":
        someone = log.state.members[peer]
        assert again.missed(someone, 0) == log.history.missed(someone, 0)
