"""The bridge and the front's answers, over a real server and `wsgiref.validate`."""

import hashlib
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.nijika.conftest import Site, read_reply, until


def test_get_reaches_the_application_with_its_environ(site: Site) -> None:
    reply = site.get("/api/echo?a=%20b&a=c", Accept="x/y")

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    environ = reply.json["environ"]
    assert environ["REQUEST_METHOD"] == "GET"
    assert (environ["PATH_INFO"], environ["SCRIPT_NAME"]) == ("/api/echo", "")
    assert environ["QUERY_STRING"] == "a=%20b&a=c"
    assert environ["HTTP_ACCEPT"] == "x/y"
    assert environ["HTTP_HOST"] == f"127.0.0.1:{site.port}"
    assert "CONTENT_LENGTH" not in environ


def test_path_with_bytes_that_are_no_utf8_arrives_unchanged(site: Site) -> None:
    environ = site.get("/caf%C3%A9/%FF/a%2Fb").json["environ"]

    assert environ["PATH_INFO"].encode("latin-1") == b"/caf\xc3\xa9/\xff/a/b"


def test_post_body_arrives_whole_and_once(site: Site) -> None:
    reply = site.send("POST", "/api/echo", b"x" * 5000, {"Content-Type": "a/b"})

    assert (reply.json["size"], reply.json["rest"]) == (5000, 0)
    assert reply.json["environ"]["CONTENT_TYPE"] == "a/b"
    assert reply.json["environ"]["CONTENT_LENGTH"] == "5000"


def test_chunked_body_gets_its_true_length(site: Site) -> None:
    reply = site.send("POST", "/api/echo", iter([b"ab", b"cde"]))

    assert reply.json["environ"]["CONTENT_LENGTH"] == "5"
    assert reply.json["sha256"] == hashlib.sha256(b"abcde").hexdigest()


def test_large_body_is_spooled_and_takes_the_lane_of_uploads(site: Site) -> None:
    body = bytes(range(256)) * 20_000

    reply = site.send("POST", "/api/echo", body, {"X-API-Key": "good"})

    assert reply.json["sha256"] == hashlib.sha256(body).hexdigest()
    assert reply.json["thread"].startswith("uploads")
    until(lambda: site.get("/state").json["spooled"] == 0)


def test_header_with_underscore_cannot_pose_as_another(site: Site) -> None:
    headers = {"X_Api_Key": "forged", "X-Other": "1"}

    environ = site.send("GET", "/api/echo", headers=headers).json["environ"]

    assert "HTTP_X_API_KEY" not in environ
    assert environ["HTTP_X_OTHER"] == "1"


def test_repeated_headers_are_joined(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(
            b"GET /api/echo HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\n"
            b"Cookie: a=1\r\nCookie: b=2\r\n\r\n"
        )
        environ = read_reply(connection).json["environ"]

    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_kept_connection_serves_requests_with_and_without_bodies(site: Site) -> None:
    with site.connect() as connection:
        for size in (0, 3, 300_000, 0, 10):
            head = (
                f"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
            )
            connection.sendall(head.encode() + b"y" * size)
            assert read_reply(connection).json["size"] == size


def test_head_has_the_length_and_no_body(site: Site) -> None:
    reply = site.send("HEAD", "/health/live")

    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["content-length"]) > 0


def test_liveness_tells_other_methods_what_it_takes(site: Site) -> None:
    reply = site.send("POST", "/health/live")

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


def test_short_answer_has_a_length(site: Site) -> None:
    reply = site.get("/api/stream?n=3&size=1000")

    assert reply.headers["content-length"] == "3000"
    assert reply.body == b"x" * 3000


def test_long_answer_is_streamed_and_closed(own_site: Site) -> None:
    reply = own_site.get("/api/stream?n=200&size=100000")

    assert len(reply.body) == 20_000_000
    assert own_site.get("/state").json["closed"] == ["0 left"]


def test_client_that_leaves_a_stream_frees_its_thread(own_site: Site) -> None:
    with own_site.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(
            b"GET /api/stream?n=9999&size=100000 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        connection.recv(1000)

    until(lambda: own_site.get("/state").json["closed"])
    left = own_site.get("/state").json["closed"][0]
    assert left != "0 left"


def test_bug_in_the_application_is_a_problem_with_the_request_id(site: Site) -> None:
    reply = site.get("/api/fail", **{"X-Request-Id": "abc-1"})

    assert reply.status == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.json["code"], reply.json["request_id"]) == ("internal_error", "abc-1")
    assert "a bug in the view" not in reply.body.decode()
    assert reply.headers["access-control-allow-origin"] == "*"


def test_finish_is_rendered_when_its_future_ends(site: Site) -> None:
    reply = site.get("/api/finish?fine=0.1")

    assert (reply.status, reply.json) == (202, {"finished": "fine"})
    assert reply.headers["location"] == "/there"
    assert reply.headers["x-middleware"] == "was here"
    assert reply.headers["content-type"] == "application/json"


def test_plain_answer_has_its_own_headers_and_those_of_middleware(site: Site) -> None:
    reply = site.get("/api/finish?plain=0.1")

    assert (reply.status, reply.body) == (202, b"finished")
    assert reply.headers["content-type"] == "text/plain"
    assert reply.headers["content-length"] == "8"
    assert reply.headers["x-credits-charged"] == "1.0000"
    assert reply.headers["x-middleware"] == "was here"


def test_finish_whose_future_fails_is_its_problem(site: Site) -> None:
    reply = site.get("/api/finish?conflict=0.1")

    assert (reply.status, reply.json["detail"]) == (409, "not now")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-middleware"] == "was here"


def test_finish_whose_rendering_breaks_is_a_500(site: Site) -> None:
    assert site.get("/api/finish?bug=0").json["code"] == "internal_error"


def test_waiting_for_futures_holds_no_thread(site: Site) -> None:
    """More wait than there are threads and places; an ordinary request gets by."""
    with ExitStack() as stack:
        waiting = [stack.enter_context(site.connect()) for _ in range(20)]
        for connection in waiting:
            connection.sendall(b"GET /api/finish?late=2 HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.01)
        assert site.get("/api/echo").status == 200
        assert [read_reply(connection).status for connection in waiting] == [202] * 20


def test_file_is_sent_with_the_headers_of_its_placeholder(
    site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 10_000)

    reply = site.get(f"/api/file?{path}")
    head = site.get(f"/api/file?{path}", method="HEAD")

    assert reply.body == path.read_bytes()
    assert (
        reply.headers["content-length"] == head.headers["content-length"] == "2560000"
    )
    assert (reply.headers["x-middleware"], head.body) == ("was here", b"")


def test_file_that_is_gone_is_a_404(site: Site, tmp_path: Path) -> None:
    reply = site.get(f"/api/file?{tmp_path}/none")

    assert (reply.status, reply.json["code"]) == (404, "not_found")
