import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from nextlong.config import EncoderConfig
from nextlong.embedding.endpoint import EndpointEncoder, endpoint_url
from nextlong.embedding.protocol import Encoder
from nextlong.embedding.registry import load_encoder
from nextlong.errors import NextlongError, UsageError

KEY = "sk-very-secret"
WIDTH = 6


def vector(text: str) -> list[float]:
    """Any function of the text alone."""
    return np.random.default_rng(list(text.encode())).normal(size=WIDTH).tolist()


def right_answer(request: dict) -> dict:
    width = request.get("dimensions") or WIDTH
    rows = [{"index": i, "embedding": vector(text)[:width]} for i, text in enumerate(request["input"])]
    return {"object": "list", "data": rows}


class Service:
    """A real server. ``script`` answers the next requests (status, headers, body or a function of the request)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict, dict]] = []
        self.script: list = []
        self.always = None
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.requests.append((self.path, dict(self.headers), request))
                answer = service.script.pop(0) if service.script else service.always
                status, headers, body = answer or (200, {}, right_answer)
                body = body(request) if callable(body) else body
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client gave up waiting, as a test wants it to

            do_GET = do_POST

            def log_message(self, *_):
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service(monkeypatch):
    monkeypatch.delenv("NEXTLONG_API_KEY", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    service = Service()
    yield service
    service.close()


def encoder(service: Service, timeout: float = 10, **options) -> EndpointEncoder:
    """Like load_encoder, but it does not wait for seconds between attempts."""
    config = EncoderConfig(name=f"endpoint:{service.url}", **options)
    return EndpointEncoder(config, service.url, timeout=timeout, first_wait=0.001)


def unit(vectors):
    return np.asarray(vectors) / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_texts_become_vectors_in_batches(service):
    loaded = load_encoder(EncoderConfig(name=f"endpoint:{service.url}/v1", model="m", batch_size=2))
    assert isinstance(loaded, Encoder)
    assert loaded.dimensions == WIDTH
    texts = ["a", "b", "c", "d", "e"]
    np.testing.assert_allclose(loaded.encode(texts), unit([vector(text) for text in texts]), atol=1e-6)
    assert [request["input"] for _, _, request in service.requests[1:]] == [["a", "b"], ["c", "d"], ["e"]]
    assert {request["model"] for _, _, request in service.requests} == {"m"}
    assert {path for path, _, _ in service.requests} == {"/v1/embeddings"}
    assert loaded.encode([]).shape == (0, WIDTH)


def test_long_texts_are_the_mean_of_windows_with_the_prompt_before_each(service):
    vectors = encoder(service, window=6, prompt="p: ").encode(["alpha beta"])
    sent = service.requests[-1][2]["input"]
    assert sent == ["p: alpha", "p:  beta"]
    np.testing.assert_allclose(vectors[0], unit([vector(text) for text in sent]).mean(axis=0), atol=1e-6)


def test_dimensions_are_asked_for_and_checked(service):
    assert encoder(service, dimensions=4).dimensions == 4
    service.always = (200, {}, lambda request: right_answer({"input": request["input"]}))
    with pytest.raises(NextlongError, match="6 dimensions where 4"):
        encoder(service, dimensions=4)


def test_a_shuffled_answer_is_put_in_order(service):
    loaded = encoder(service)
    service.script = [(200, {}, lambda request: {"data": right_answer(request)["data"][::-1]})]
    np.testing.assert_allclose(loaded.encode(["a", "b", "c"]), unit([vector(text) for text in "abc"]), atol=1e-6)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_repeated(service, status):
    loaded = encoder(service)
    service.script = [(status, {}, b"busy"), (status, {}, b"busy")]
    np.testing.assert_allclose(loaded.encode(["a"]), unit([vector("a")]), atol=1e-6)
    assert len(service.requests) == 1 + 3


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(service, as_date):
    loaded = encoder(service)
    # A date has whole seconds, so three of them are at least two.
    service.script = [(429, {"Retry-After": formatdate(time.time() + 3, usegmt=True) if as_date else "1"}, b"")]
    start = time.monotonic()
    loaded.encode(["a"])
    assert time.monotonic() - start >= 0.9


def test_a_service_that_asks_for_hours_is_not_waited_for(service):
    loaded = encoder(service)
    service.always = (429, {"Retry-After": "7200"}, b"quota used up")
    with pytest.raises(NextlongError, match=r"after 1 attempts.*quota used up"):
        loaded.encode(["a"])


def test_a_lasting_failure_ends_with_the_services_words(service):
    loaded = encoder(service)
    service.always = (500, {}, b"out of memory")
    with pytest.raises(NextlongError, match="after 7 attempts: HTTP 500: out of memory"):
        loaded.encode(["a"])
    assert len(service.requests) == 1 + 7


def test_a_refusal_is_not_repeated(service):
    loaded = encoder(service)
    service.always = (400, {}, b"input too long")
    with pytest.raises(NextlongError, match="HTTP 400: input too long") as raised:
        loaded.encode(["a"])
    assert "window" in raised.value.hint
    assert len(service.requests) == 1 + 1


def test_a_slow_service_is_asked_again(service):
    loaded = encoder(service, timeout=0.2)

    def slow(request):
        time.sleep(0.5)
        return right_answer(request)

    service.script = [(200, {}, slow)]
    np.testing.assert_allclose(loaded.encode(["a"]), unit([vector("a")]), atol=1e-6)


def test_a_service_that_is_not_there(service):
    service.close()
    try:
        with pytest.raises(NextlongError, match=r"after 7 attempts.*refused"):
            encoder(service)
    finally:
        service.close = lambda: None


WRONG = {
    "no JSON": b"<html>hello</html>",
    "no data": {"error": "?"},
    "a list": [1, 2],
    "null rows": {"data": None},
    "one vector too few": lambda request: {"data": right_answer(request)["data"][:-1]},
    "one vector too many": lambda request: right_answer({"input": [*request["input"], "x"]}),
    "an index twice": lambda request: {"data": [row | {"index": 0} for row in right_answer(request)["data"]]},
    "another width": lambda request: right_answer(request | {"dimensions": 3}),
    "several widths": {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
    "NaN": {"data": [{"index": i, "embedding": [float("nan")] * WIDTH} for i in range(2)]},
    "too large": {"data": [{"index": i, "embedding": [1e300] * WIDTH} for i in range(2)]},
    "words": {"data": [{"index": i, "embedding": "AAAA"} for i in range(2)]},
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_is_an_error(service, answer):
    loaded = encoder(service)
    service.always = (200, {}, answer)
    with pytest.raises(NextlongError, match=r"/v1/embeddings returned"):
        loaded.encode(["a", "b"])


def test_the_key_is_sent_and_never_shown(service, monkeypatch):
    monkeypatch.setenv("NEXTLONG_API_KEY", f"{KEY}\n")
    loaded = encoder(service)
    assert service.requests[0][1]["Authorization"] == f"Bearer {KEY}"
    service.always = (401, {}, f"Incorrect API key provided: {KEY}".encode())
    with pytest.raises(NextlongError) as raised:
        loaded.encode(["a"])
    chain = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert KEY not in "".join(map(repr, chain)) + str(raised.value)
    assert KEY not in repr(vars(loaded))
    assert "NEXTLONG_API_KEY" in raised.value.hint


def test_a_key_that_cannot_be_a_header_is_not_shown_either(service, monkeypatch):
    monkeypatch.setenv("NEXTLONG_API_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(UsageError) as raised:
        encoder(service)
    assert KEY not in str(raised.value)


def test_redirects_are_not_followed(service, monkeypatch):
    monkeypatch.setenv("NEXTLONG_API_KEY", KEY)
    loaded = encoder(service)
    service.script = [(302, {"Location": f"{service.url}/elsewhere"}, b"")]
    with pytest.raises(NextlongError, match="HTTP 302"):
        loaded.encode(["a"])
    assert len(service.requests) == 2


def test_the_fingerprint_follows_the_settings(service):
    base = encoder(service, model="m").fingerprint
    assert encoder(service, model="m", batch_size=1).fingerprint == base
    others = {encoder(service, model="n"), encoder(service, model="m", window=9), encoder(service, model="m", prompt="p")}
    assert len({base, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("http://host:8000", "http://host:8000/v1/embeddings"),
        ("http://host:8000/", "http://host:8000/v1/embeddings"),
        ("https://host/v1", "https://host/v1/embeddings"),
        ("https://host/api/v3/", "https://host/api/v3/embeddings"),
        ("https://host/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host/v1/embeddings/?version=2", "https://host/v1/embeddings?version=2"),
    ],
)
def test_addresses(url, full):
    assert endpoint_url(url) == full


@pytest.mark.parametrize(
    "url", ["host:8000", "ftp://host", "http://", "http://host:port", "http://me:secret@host/v1", "file:///x"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(UsageError) as raised:
        endpoint_url(url)
    assert "secret" not in str(raised.value)
