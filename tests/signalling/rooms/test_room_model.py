"""Rooms, roles, seats and hand-over against a model; and what each client can know of them."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from signalling.messages import (
    Admit,
    Answer,
    Ban,
    Candidate,
    Chat,
    Configure,
    ControlDeny,
    ControlGive,
    ControlGrant,
    ControlRelease,
    ControlRequest,
    ControlTake,
    Done,
    Grant,
    Kick,
    Offer,
    Promote,
    Revoke,
    RoomSettings,
    Unban,
)

from .model import ACTS_ON, CONTROLS, SEES, STAFF, TURN_S, Truth, View
from .party import Party

SUBJECTS = ["ann", "bob", "cyd", "dee", "eve"]
INVITATION = "an invitation"
BEGIN = ["host", "player", "viewer", "moderator", "player", "viewer"]
choices = st.integers(0, 2**16)
controls = st.sampled_from(CONTROLS)
for_s = st.sampled_from([None, 12.0, 45.0])
roles = st.sampled_from([None, None, "viewer", "player", "moderator"])


class RoomMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.party = Party()
        self.truth = Truth(self.party.at)
        self.clients: dict[str, object] = {}
        """Who may still come back, or is there, by peer."""
        self.views: dict[str, View] = {}
        self.said: dict[str, list[str]] = {}
        """What must still come to each, in order: what the host and they said to each other."""
        self.number = 0

    # Who does something

    def pick(self, choice, *, there=True, roles=None):
        able = [
            one
            for one in self.truth.people.values()
            if (one.there or not there) and (roles is None or one.role in roles)
        ]
        return able[choice % len(able)] if able else None

    def say(self, one, request):
        """Says it; returns the answer's code, or ok."""
        client = self.clients[one.peer]
        self.hear()
        client.say(request)
        answers = [
            message
            for message in client.inbox
            if getattr(message, "id", None) == "1" and not hasattr(message, "seq")
        ]
        (answer,) = answers
        return "ok" if isinstance(answer, Done) else answer.code

    def hear(self):
        """Everyone takes in what has come."""
        for peer, client in self.clients.items():
            view = self.views[peer]
            for message in client.take():
                view.take_in(message)
                if isinstance(message, Offer | Answer | Candidate):
                    text = getattr(message, "sdp", None) or message.candidate
                    assert self.said[peer].pop(0) == text

    def forget(self):
        for peer in [peer for peer in self.clients if peer not in self.truth.people]:
            del self.clients[peer], self.views[peer], self.said[peer]

    # Coming and going

    @initialize(empty=st.sampled_from([False, False, False, True]))
    def begin(self, empty):
        """Most of what can happen takes several people."""
        if not empty:
            for role, subject in zip(BEGIN, [*SUBJECTS, INVITATION], strict=True):
                self.join(role, subject)

    @rule(
        role=st.sampled_from(["host", "player", "player", "viewer", "moderator"]),
        subject=st.sampled_from([*SUBJECTS, INVITATION]),
    )
    def join(self, role, subject):
        self.join_as(role, subject)

    def join_as(self, role, subject):
        invited = subject == INVITATION
        if invited and role == "host":
            return
        verdict = self.truth.verdict(role, subject, invited)
        self.number += 1
        settings = RoomSettings(pads=2, turn_s=TURN_S) if role == "host" else None
        name = f"{role[0]}{self.number}"
        marks = frozenset({"link", "invite"} if invited else ())
        client = self.party.join(name, role, subject=subject, settings=settings, marks=marks)
        if verdict not in ("in", "waits"):
            assert client.error.code == verdict
            return
        assert client.error is None
        self.truth.enter(client.peer, subject, role, verdict == "waits", invited)
        self.clients[client.peer] = client
        self.views[client.peer] = View()
        self.said[client.peer] = []

    @rule(choice=choices, role=roles, leave=st.booleans(), windows=st.integers(1, 2))
    def open_the_link_again(self, choice, role, leave, windows):
        """In other windows, or after closing this one."""
        one = self.pick(choice, roles={"player", "viewer", "moderator"})
        if one is not None:
            if leave:
                self.leave_room(one)
            for _ in range(windows):
                self.join_as(role or one.token_role, one.subject)

    @rule(choice=choices, control=controls)
    def ask_in_two_windows(self, choice, control):
        one = self.pick(choice, roles={"player", "viewer", "moderator"})
        if one is not None:
            same = [o for o in self.truth.people.values() if o.subject == one.subject and o.there]
            for each in [other for other in same if other.role != "host"]:
                code = self.say(each, ControlRequest(control, id="1"))
                assert code == self.truth.request(each, control)

    @rule(choice=choices)
    def drop(self, choice):
        one = self.pick(choice, there=False)
        if one is None or one.gone_at is not None:
            return
        self.hear()
        self.clients[one.peer].drop()
        if one.waiting:
            self.truth.remove(one.peer)
        else:
            one.gone_at = self.truth.now + 30.0
            self.truth.settle()

    @rule(choice=choices, notice=st.booleans(), role=roles)
    def come_back(self, choice, notice, role):
        """With or without the server having noticed that the connection was lost; with the same
        token or one for another role.
        """
        one = self.pick(choice, there=False)
        if one is None or one.waiting or (one.gone_at is None and notice):
            return
        self.hear()
        client = self.clients[one.peer]
        old_link = client.link
        self.party.clients.pop(old_link, None)
        role = one.token_role if role is None or one.role == "host" or one.invited else role
        seq = client.seq
        client.come_back(role=role)
        assert client.welcomes[-1].resumed
        # What was for all but this one has a number that it cannot show: once that is forgotten it
        # is told anew how things stand.
        assert client.welcomes[-1].complete or self.party.room.state.evicted_seq > seq
        assert client.peer == one.peer
        self.truth.renew(one, role)

    @rule(choice=choices)
    def come_back_with_a_guess(self, choice):
        one = self.pick(choice, there=False, roles={"player", "viewer"})
        truth = self.truth
        if one is None or one.waiting or truth.locked or truth.capacity or truth.policy != "open":
            return
        self.number += 1
        thief = type(self.clients[one.peer])(self.party, f"t{self.number}", one.role, "thief")
        thief.peer = one.peer
        link = self.clients[one.peer].link
        thief.come_back(secret="guess")
        assert not thief.welcomes[-1].resumed
        assert self.party.room.state.members[one.peer].link == link
        thief.leave()

    @rule(choice=choices)
    def leave(self, choice):
        one = self.pick(choice, there=False)
        if one is not None and one.gone_at is None:
            self.leave_room(one)

    def leave_room(self, one):
        self.clients[one.peer].leave()
        self.truth.remove(one.peer)

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0, 31.0, 70.0]))
    def pass_time(self, seconds):
        self.party.pass_time(seconds)
        self.truth.pass_time(seconds)

    # Between host and others

    @precondition(lambda self: self.truth.host is not None)
    @rule(choice=choices)
    def relay(self, choice):
        host = self.truth.host
        other = self.pick(choice, there=False, roles=set(SEES) - {"host"})
        if other is None or other.waiting:
            return
        self.number += 1
        text = f"text {self.number}"
        if host.there:
            self.clients[host.peer].say(Offer(other.peer, text))
            self.said[other.peer].append(text)
        if other.there:
            self.clients[other.peer].say(Answer(host.peer, text))
            self.clients[other.peer].say(Candidate(host.peer, text))
            self.said[host.peer] += [text, text]

    @rule(choice=choices)
    def chat(self, choice):
        one = self.pick(choice)
        if one is None:
            return
        self.number += 1
        assert self.say(one, Chat(f"chat {self.number}", id="1")) == "ok"
        self.truth.chat.append(f"chat {self.number}")

    # Staff

    @rule(
        choice=choices,
        policy=st.sampled_from(["open", "open", "approval", "invite"]),
        rule=st.sampled_from(["ask", "free", "turns"]),
        capacity=st.sampled_from([0, 0, 0, 3]),
    )
    def configure(self, choice, policy, rule, capacity):
        one = self.pick(choice, roles={"host"})
        if one is None:
            return
        request = Configure(
            policy=policy,
            control_policy=rule,
            capacity=capacity,
            pads=2,
            turn_s=TURN_S,
            id="1",
        )
        assert self.say(one, request) == "ok"
        truth = self.truth
        if truth.rule != rule:
            for held in truth.held.values():
                held.until = held.until if held.by_grant else None
        changed = (truth.policy, truth.rule, truth.capacity) != (policy, rule, capacity)
        truth.policy, truth.rule, truth.capacity = policy, rule, capacity
        if changed:
            truth.settle()

    @rule(choice=choices, locked=st.booleans())
    def lock(self, choice, locked):
        one = self.pick(choice, roles=STAFF)
        if one is not None:
            assert self.say(one, Configure(locked=locked, id="1")) == "ok"
            self.truth.locked = locked

    @rule(choice=choices, other=choices)
    def admit(self, choice, other):
        actor = self.pick(choice, roles=STAFF)
        waiting = [one for one in self.truth.people.values() if one.waiting]
        if actor is None or not waiting:
            return
        one = waiting[other % len(waiting)]
        code = self.say(actor, Admit(one.peer, id="1"))
        if self.truth.full:
            assert code == "room-full"
        else:
            assert code == "ok"
            self.truth.admit(one)

    @rule(choice=choices, other=choices, role=st.sampled_from(["viewer", "player", "moderator"]))
    def promote(self, choice, other, role):
        actor, one = self.pick(choice), self.pick(other, there=False)
        if actor is None or one is None:
            return
        code = self.say(actor, Promote(one.peer, role, id="1"))
        assert code == self.truth.promote(actor, one, role)

    @rule(choice=choices, other=choices)
    def kick(self, choice, other):
        actor, one = self.pick(choice), self.pick(other, there=False)
        if actor is None or one is None:
            return
        code = self.say(actor, Kick(one.peer, id="1"))
        if actor is one or one.role not in ACTS_ON.get(actor.role, set()):
            assert code == "forbidden"
            return
        assert code == "ok"
        client = self.clients[one.peer]
        if one.gone_at is None:
            assert client.error.code == ("not-admitted" if one.waiting else "kicked")
        self.truth.remove(one.peer)

    @rule(choice=choices, other=choices, for_s=for_s)
    def ban(self, choice, other, for_s):
        actor, one = self.pick(choice, roles=STAFF), self.pick(other, there=False)
        if actor is None or one is None or actor is one:
            return
        code = self.say(actor, Ban(one.peer, for_s, id="1"))
        theirs = {
            other.role for other in self.truth.people.values() if other.subject == one.subject
        }
        above = one.role not in ACTS_ON[actor.role] or theirs - {"host"} - ACTS_ON[actor.role]
        if above or one.subject == actor.subject:
            assert code == "forbidden"
            return
        assert code == "ok"
        self.truth.bans[one.subject] = None if for_s is None else self.truth.now + for_s
        for same in list(self.truth.people.values()):
            if same.subject == one.subject and same.role in ACTS_ON[actor.role]:
                self.truth.remove(same.peer)

    @rule(choice=choices, subject=st.sampled_from(SUBJECTS))
    def unban(self, choice, subject):
        actor = self.pick(choice, roles=STAFF)
        if actor is not None:
            assert self.say(actor, Unban(subject, id="1")) == "ok"
            self.truth.bans.pop(subject, None)

    @rule(
        choice=choices,
        other=choices,
        what=st.sampled_from(["speak", "clipboard"]),
        for_s=for_s,
        grant=st.booleans(),
    )
    def permit(self, choice, other, what, for_s, grant):
        actor = self.pick(choice, roles=STAFF)
        one = self.pick(other, there=False, roles={"player", "viewer"})
        if actor is None or one is None or one.waiting:
            return
        request = Grant(one.peer, what, for_s, id="1") if grant else Revoke(one.peer, what, id="1")
        assert self.say(actor, request) == "ok"
        until = None if for_s is None else self.truth.now + for_s
        self.truth.permit(one, what, until, grant)

    # Controls

    @rule(choice=choices, control=controls)
    def request_control(self, choice, control):
        one = self.pick(choice, roles={"player", "viewer", "moderator"})
        if one is None:
            return
        code = self.say(one, ControlRequest(control, id="1"))
        assert code == self.truth.request(one, control)

    @rule(choice=choices, control=controls)
    def release_control(self, choice, control):
        one = self.pick(choice, roles={"player", "viewer", "moderator"})
        if one is None:
            return
        assert self.say(one, ControlRelease(control, id="1")) == "ok"
        held = self.truth.held[control]
        if held.holder == one.peer:
            self.truth.empty(held)
        elif one.peer in held.queue:
            held.queue.remove(one.peer)
        self.truth.settle()

    @rule(choice=choices, other=choices, control=controls)
    def give_control(self, choice, other, control):
        one = self.pick(choice, roles={"player", "viewer", "moderator"})
        heir = self.pick(other, there=False)
        if one is None or heir is None:
            return
        code = self.say(one, ControlGive(control, heir.peer, id="1"))
        held = self.truth.held[control]
        if heir.waiting:
            assert code == "not-admitted"
        elif heir.role in ("host", "viewer"):
            assert code == "forbidden"
        elif heir.gone_at is not None or held.holder != one.peer:
            assert code == "conflict"
        else:
            assert code == "ok"
            held.holder = heir.peer
            held.queue = [peer for peer in held.queue if peer != heir.peer]
            self.truth.settle()

    @rule(choice=choices, other=choices, control=controls, for_s=for_s)
    def grant_control(self, choice, other, control, for_s):
        actor = self.pick(choice, roles=STAFF)
        one = self.pick(other, there=False, roles={"player", "viewer"})
        if actor is None or one is None or one.waiting:
            return
        code = self.say(actor, ControlGrant(control, one.peer, for_s, id="1"))
        if self.truth.host is None:
            assert code == "conflict"
            return
        assert code == "ok"
        until = None if for_s is None else self.truth.now + for_s
        self.truth.grant(control, one.peer, until)

    @rule(choice=choices, control=controls, other=choices)
    def deny_control(self, choice, control, other):
        actor = self.pick(choice, roles=STAFF)
        held = self.truth.held[control]
        if actor is None or not held.queue:
            return
        one = held.queue[other % len(held.queue)]
        assert self.say(actor, ControlDeny(control, one, id="1")) == "ok"
        held.queue.remove(one)
        self.truth.settle()

    @rule(choice=choices, control=controls)
    def take_control(self, choice, control):
        actor = self.pick(choice, roles=STAFF)
        if actor is None:
            return
        assert self.say(actor, ControlTake(control, id="1")) == "ok"
        if self.truth.held[control].holder is not None:
            self.truth.empty(self.truth.held[control])
        self.truth.settle()

    # What must hold after each of them

    @invariant()
    def the_room_is_what_it_should_be(self):
        state, truth = self.party.room.state, self.truth
        assert {
            peer: (member.role, member.subject, member.waiting, member.away_since is not None)
            for peer, member in state.members.items()
        } == {
            peer: (one.role, one.subject, one.waiting, one.gone_at is not None)
            for peer, one in truth.people.items()
        }
        assert {ban.subject: ban.until for ban in state.bans.values()} == truth.bans
        if truth.host is not None:
            assert {
                name: (slot.holder, slot.until, slot.queue) for name, slot in state.slots.items()
            } == truth.controls()

    @invariant()
    def everyone_knows_what_is_theirs_to_know(self):
        self.hear()
        self.forget()
        truth = self.truth
        for peer, one in truth.people.items():
            view = self.views[peer]
            if one.waiting:
                assert view.members == {}
            if not one.there:
                continue
            assert view.role == one.role
            assert view.members == truth.members_for(one)
            assert view.may_do[peer] == truth.may_do(one)
            assert self.said[peer] == []
            assert view.chat == [text for text in truth.chat if text in view.chat]
            if truth.chat and one.role in SEES:
                assert not view.chat or view.chat[-1] == truth.chat[-1]
            if truth.host is not None:
                assert view.controls == truth.controls()
            if one.role == "host":
                for other in truth.people.values():
                    if other is not one and not other.waiting:
                        assert view.may_do[other.peer] == truth.may_do(other)
            if one.role in STAFF:
                assert view.bans == set(truth.bans)

    @invariant()
    def a_copy_made_now_would_be_the_same(self):
        room = type(self.party.room)("doom")
        room.restore(self.party.room.snapshot())
        assert room.state == self.party.room.state


def test_rooms_roles_seats_and_handover_follow_their_model():
    run_state_machine_as_test(
        RoomMachine, settings=settings(max_examples=120, stateful_step_count=50, deadline=None)
    )
