from signalling.redis.outbox import Outbox

from .replica import say

FIRST, SECOND, THIRD = say("h"), say("h"), say("h")


def filled():
    outbox = Outbox()
    waiting = [outbox.put(q, event, 0.0) for q, event in ((2, FIRST), (5, SECOND), (9, THIRD))]
    return outbox, waiting


def test_events_go_out_in_order_and_once():
    outbox, _ = filled()
    assert outbox
    assert [(q, one.event) for q, one in outbox.send(2).items()] == [(2, FIRST), (5, SECOND)]
    assert list(outbox.send(2)) == [9]
    assert not outbox
    assert not outbox.clear
    assert outbox.send(2) == {}


def test_what_was_not_delivered_goes_out_again_before_the_rest():
    outbox, _ = filled()
    outbox.send(2)
    outbox.confirm(2)
    outbox.take_back()
    assert outbox.waiting() == [(5, SECOND), (9, THIRD)]


def test_who_published_hears_when_it_took_place():
    outbox, waiting = filled()
    outbox.send(1)
    outbox.confirm_up_to(5)
    assert [one.done.is_set() for one in waiting] == [True, True, False]
    outbox.send(1)
    outbox.confirm_sent()
    assert waiting[2].done.is_set()
    assert outbox.clear


def test_what_nobody_waits_for_is_not_sent():
    outbox, waiting = filled()
    outbox.send(1)
    outbox.drop(2)
    outbox.drop(5)
    outbox.take_back()
    assert outbox.waiting() == [(9, THIRD)]
    outbox.confirm(2)
    assert not waiting[0].done.is_set()
