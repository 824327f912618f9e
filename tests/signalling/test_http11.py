from http import HTTPStatus

import pytest

from signalling.http11 import MAX_FIELDS, MAX_TARGET_BYTES, BadRequest, Response, parse_request


def head(*lines):
    return "\r\n".join(lines).encode("latin-1")


def test_a_request_is_its_method_target_and_fields():
    request = parse_request(
        head("GET /a/b?c=d HTTP/1.1", "Host: x:80", "X-One:  padded\t", "x-one: two", "Empty:")
    )
    assert (request.method, request.target, request.path) == ("GET", "/a/b?c=d", "/a/b")
    assert request.get_all("x-one") == ["padded", "two"]
    assert request.get("x-one") is None  # not exactly one
    assert (request.get("host"), request.get("empty")) == ("x:80", "")
    assert request.persistent


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("/a?b", "/a?b", "from.host:1"),
        ("http://from.target/a?b", "/a?b", "from.target"),
        ("HTTPS://from.target:443/", "/", "from.target:443"),
        ("http://[2001:db8::1]:80", "/", "[2001:db8::1]:80"),
        ("http://from.target?b", "/?b", "from.target"),
        ("http://from.target//a//b", "//a//b", "from.target"),
    ],
)
def test_a_target_that_says_whose_it_is_counts_more_than_the_host(target, path, host):
    """RFC 9112 section 3.2.2: accepted, and the Host is ignored then."""
    request = parse_request(head(f"GET {target} HTTP/1.1", "Host: from.host:1"))
    assert (request.target, request.path, request.host) == (path, path.partition("?")[0], host)


def test_targets_of_other_forms_are_for_their_methods_alone():
    for method, target in (("OPTIONS", "*"), ("CONNECT", "play.example:443")):
        assert parse_request(head(f"{method} {target} HTTP/1.1", "Host: x")).target == target
        with pytest.raises(BadRequest, match="no path"):
            parse_request(head(f"GET {target} HTTP/1.1", "Host: x"))


def test_old_clients_name_no_host_and_say_how_old_they_are():
    request = parse_request(b"GET / HTTP/1.0")
    assert (request.minor_version, request.host) == (0, "")
    assert parse_request(head("GET / HTTP/1.1", "Host:")).minor_version == 1


@pytest.mark.parametrize(
    ("lines", "persistent"),
    [
        (("GET / HTTP/1.1", "Host: x", "Connection: keep-alive, Close"), False),
        (("GET / HTTP/1.1", "Host: x", "Connection: keep-alive"), True),
        (("GET / HTTP/1.0", "Host: x"), False),
        (("GET / HTTP/1.0",), False),
    ],
)
def test_whether_the_connection_goes_on(lines, persistent):
    assert parse_request(head(*lines)).persistent is persistent


def test_tokens_of_a_list_are_found_in_whichever_case():
    request = parse_request(
        head("GET / HTTP/1.1", "Host: x", "Connection: keep-alive, Upgrade", "Connection: other")
    )
    assert request.has_token("connection", "upgrade")
    assert request.has_token("connection", "other")
    assert not request.has_token("connection", "alive")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("",), 400),
        (("GET /",), 400),
        (("GET  / HTTP/1.1", "Host: x"), 400),
        (("GET / HTTP/1.1 ", "Host: x"), 400),
        (("GET / HTTP/2.0", "Host: x"), 400),
        (("GET /\x00 HTTP/1.1", "Host: x"), 400),
        (("GET /ü HTTP/1.1", "Host: x"), 400),
        (("G(T / HTTP/1.1", "Host: x"), 400),
        (("GET / HTTP/1.1",), 400),
        (("GET / HTTP/1.1", "Host: x", "Host: x"), 400),
        (("GET / HTTP/1.1", "Host: x, y z"), 400),
        (("GET / HTTP/1.1", "Host: me@x"), 400),
        (("GET / HTTP/1.1", "Host: x/y"), 400),
        (("GET / HTTP/1.1", "Host: x:y"), 400),
        (("GET / HTTP/1.1", "Host: [::1"), 400),
        (("GET http://x/ HTTP/1.1",), 400),
        (("GET http://me@x/ HTTP/1.1", "Host: x"), 400),
        (("GET http:///a HTTP/1.1", "Host: x"), 400),
        (("GET http:/a HTTP/1.1", "Host: x"), 400),
        (("GET file:///etc/passwd HTTP/1.1", "Host: x"), 400),
        (("GET ws://x/ws HTTP/1.1", "Host: x"), 400),
        (("GET a HTTP/1.1", "Host: x"), 400),
        (("GET /a#b HTTP/1.1", "Host: x"), 400),
        (("GET / HTTP/1.1", "Host : x"), 400),
        (("GET / HTTP/1.1", "Host: x", " folded"), 400),
        (("GET / HTTP/1.1", "Host: x", "no colon"), 400),
        (("GET / HTTP/1.1", "Host: x", ": no name"), 400),
        (("GET / HTTP/1.1", "Host: x\rX: y"), 400),
        (("GET / HTTP/1.1", "Host: x\nX: y"), 400),
        (("GET / HTTP/1.1", "Host: x", "X: \x00"), 400),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: 1"), 413),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: -1"), 400),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: 0, 1"), 400),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: ²"), 400),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: 0", "Content-Length: 5"), 413),
        (("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"), 501),
        (("GET /" + "a" * MAX_TARGET_BYTES + " HTTP/1.1", "Host: x"), 414),
        (("GET / HTTP/1.1", "Host: x", *(["A: b"] * MAX_FIELDS)), 431),
    ],
)
def test_what_others_could_read_differently_is_refused(lines, status):
    with pytest.raises(BadRequest) as caught:
        parse_request(head(*lines))
    assert caught.value.status == status
    assert str(caught.value).isprintable()


def test_a_response_says_how_long_it_is_and_a_head_has_no_body():
    response = Response.words(HTTPStatus.NOT_FOUND, "no")
    whole = response.to_bytes((("A", "b"),), head_only=False, persistent=False)
    assert whole.endswith(b"\r\n\r\nno\n")
    assert b"\r\nA: b\r\n" in whole
    assert b"\r\nContent-Length: 3\r\n" in whole
    assert b"\r\nConnection: close\r\n" in whole
    assert response.to_bytes((), head_only=True, persistent=True).endswith(
        b"Content-Length: 3\r\n\r\n"
    )
