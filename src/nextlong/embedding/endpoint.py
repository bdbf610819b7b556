"""Vectors from a service that speaks the OpenAI embeddings protocol: vLLM, Text Embeddings Inference, llama.cpp, OpenAI.

The key, when the service wants one, comes from the environment variable ``NEXTLONG_API_KEY``.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import numpy as np
import xxhash

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Vectors
from nextlong.embedding.windows import mean_by_text, windows
from nextlong.errors import NextlongError, UsageError
from nextlong.public_text import HIDDEN, redacted

# OpenAI's models read 8,191 tokens, and a character is rarely more than one token, so nothing is cut off unseen.
# Services with a shorter input need a smaller `window`.
WINDOW = 8000

TIMEOUT_SECONDS = 120.0

# Waits of 1, 2, 4, 8, 16 and 32 seconds outlast a restart or a rate limit counted by the minute.
_ATTEMPTS = 7
_FIRST_WAIT_SECONDS = 1.0
# A service that asks for a longer pause than this is not going to be back soon: better to say so.
_LONGEST_WAIT_SECONDS = 120.0

# The JSON of a vector of 8,192 numbers is some 200 KB.
_ANSWER_BYTES_PER_TEXT = 1 << 20
_READ_BYTES = 1 << 16

_SHOWN_CHARACTERS = 300
# A value of a query that is shorter keeps nobody out, and hiding it would spoil words.
_SHORTEST_SECRET = 4

_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}

# Goes into the fingerprint; raise it when a vector changes.
_VERSION = 1


class EndpointEncoder:
    """POSTs batches of windows to ``URL/embeddings`` and gives the mean of each text's windows.

    ``endpoint:http://host:8000``, ``…/v1`` and ``…/v1/embeddings`` all name the same service. Its vectors are known
    only by its address and model, so change ``model`` when the service changes its weights.
    """

    # Requests wait on the service, not on this machine, and one process each keeps its rate limit in sight.
    max_workers: int | None = 4
    takes_gpu = False
    quick = False

    def __init__(
        self, config: EncoderConfig, url: str, *, timeout: float = TIMEOUT_SECONDS, first_wait: float | None = None
    ) -> None:
        """Ask the service for one vector, to learn their width.

        Args:
            timeout: seconds to wait for an answer.
            first_wait: seconds before the first retry; doubled for each further one.
        """
        self.name = redacted(config.name)
        self._url = endpoint_url(url)
        # Errors leave the query out, and so does what is stored: some services take their key there.
        self._shown, _, query = self._url.partition("?")
        values = [pair.partition("=")[2] for pair in query.split("&")]
        self._secrets = [query, *values, *map(urllib.parse.unquote_plus, values)]
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._config = config
        self._window = config.window or WINDOW
        self._timeout = timeout
        self._first_wait = _FIRST_WAIT_SECONDS if first_wait is None else first_wait
        self.dimensions = 0
        self.dimensions = self._embed(["dimensions"]).shape[1]
        if config.dimensions is not None and self.dimensions != config.dimensions:
            raise NextlongError(
                f"{self._shown} returned {self.dimensions} dimensions where {config.dimensions} were asked for.",
                "Leave `dimensions` out; this model cannot shorten its vectors.",
            )
        described = json.dumps([self._shown, config.model, config.dimensions, self.dimensions, self._window, config.prompt])
        self.fingerprint = f"endpoint-{_VERSION}-{xxhash.xxh3_64_hexdigest(described.encode())}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to float32, shape ``(len(texts), dimensions)``; see the protocol.

        Raises:
            NextlongError: the service fails, also after retries, or answers something else than the vectors asked for.
        """
        parts = [windows(text, self._window) for text in texts]
        flat = [self._config.prompt + part for windows_of_text in parts for part in windows_of_text]
        size = self._config.batch_size
        found = [self._embed(flat[start : start + size]) for start in range(0, len(flat), size)]
        vectors = np.concatenate([np.zeros((0, self.dimensions), dtype=np.float32), *found])
        return mean_by_text(vectors, [len(windows_of_text) for windows_of_text in parts])

    def _embed(self, texts: list[str]) -> Vectors:
        body: dict[str, Any] = {"input": texts, "encoding_format": "float"}
        if self._config.model:
            body["model"] = self._config.model
        if self._config.dimensions:
            body["dimensions"] = self._config.dimensions
        most = (len(texts) + 1) * _ANSWER_BYTES_PER_TEXT
        return self._checked(self._post(json.dumps(body).encode(), most), len(texts))

    def _post(self, body: bytes, most: int) -> bytes:
        headers = {"Content-Type": "application/json"}
        key = _key()
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, body, headers, method="POST")
        problem = ""
        for attempt in range(_ATTEMPTS):
            asked = None
            try:
                with self._opener.open(request, timeout=self._timeout) as answer:
                    return self._read(answer, most)
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}: {_excerpt(error, [key, *self._secrets])}"
                if error.code not in _RETRIED:
                    raise NextlongError(f"{self._shown} refused the request with {problem}", _advice(error.code)) from None
                asked = _retry_after(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as error:
                problem = _hidden(str(getattr(error, "reason", error) or type(error).__name__), [key, *self._secrets])
            if attempt + 1 == _ATTEMPTS or (asked or 0) > _LONGEST_WAIT_SECONDS:
                break
            # Spread over half the wait, so that workers refused together do not come back together.
            backoff = self._first_wait * 2**attempt * random.uniform(1, 1.5)
            time.sleep(min(max(backoff, asked or 0), _LONGEST_WAIT_SECONDS))
        raise NextlongError(
            f"{self._shown} still fails after {attempt + 1} attempts: {problem}",
            "Check that the service runs and is not overloaded, then run the same command again; finished shards are kept.",
        )

    def _read(self, answer: Any, most: int) -> bytes:
        """The body of an answer, as long as it comes in time and is not larger than any vectors are."""
        content, end = bytearray(), time.monotonic() + self._timeout  # bytes would be copied for every part
        while part := answer.read1(_READ_BYTES):
            content += part
            if len(content) > most:
                raise self._wrong(f"more than {most:,} bytes")
            if time.monotonic() > end:
                raise TimeoutError("the answer takes longer than the time that is waited for one")
        if answer.length:  # what the service has announced and not sent
            raise http.client.IncompleteRead(bytes(content), answer.length)
        return bytes(content)

    def _checked(self, content: bytes, count: int) -> Vectors:
        """The vectors of an answer in the order of the texts."""
        try:
            rows = json.loads(content)["data"]
            order = [int(row["index"]) for row in rows]
            with np.errstate(over="ignore"):  # becomes infinity, which is found below
                vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise self._wrong(f"no list of vectors ({type(error).__name__}: {str(error)[:_SHOWN_CHARACTERS]})") from None
        if sorted(order) != list(range(count)):
            raise self._wrong(f"{len(order)} vectors with the indexes {order[:5]}… for {count} texts")
        if vectors.ndim != 2 or vectors.shape[1] == 0 or (self.dimensions and vectors.shape[1] != self.dimensions):
            raise self._wrong(f"vectors of shape {vectors.shape[1:]}; expected ({self.dimensions or 'd'},)")
        if not np.isfinite(vectors).all():
            raise self._wrong("a vector with NaN or infinity")
        ordered = np.empty_like(vectors)
        ordered[order] = vectors
        return ordered

    def _wrong(self, what: str) -> NextlongError:
        return NextlongError(f"{self._shown} returned {what}.", "It must answer like OpenAI's POST /v1/embeddings.")


def endpoint_url(url: str) -> str:
    """The full address: ``/v1/embeddings`` is added to a bare host, ``/embeddings`` to any other path without it.

    Raises:
        UsageError: no http(s) address, or one that holds a user name or password.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, brackets that do not close
        usable = False
    if not usable:
        raise UsageError(
            f"`{redacted(url)}` is no address of an embeddings service.", "Write it like endpoint:http://localhost:8000/v1"
        )
    if "@" in parts.netloc:
        raise UsageError("An endpoint's address must not hold a password.", "Set NEXTLONG_API_KEY instead.")
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith("/embeddings"):
        path += "/embeddings"
    return urllib.parse.urlunsplit(parts._replace(path=path, fragment=""))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host, and turn the POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _key() -> str:
    key = os.environ.get("NEXTLONG_API_KEY", "").strip()
    # http.client would quote an unusable header, and with it the key, in its error.
    if not all("!" <= character <= "~" for character in key):
        raise UsageError("The environment variable NEXTLONG_API_KEY holds white space or characters beyond ASCII.")
    return key


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from the header's seconds or date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _excerpt(error: urllib.error.HTTPError, secrets: Sequence[str]) -> str:
    """The start of an error's body. A service may quote the key back, or the address."""
    try:
        text = error.read1(2000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        text = ""
    return " ".join(_hidden(text or str(error.reason), secrets).split())[:_SHOWN_CHARACTERS]


def _hidden(text: str, secrets: Sequence[str]) -> str:
    """``text`` without secrets, the longest first: one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text


def _advice(code: int) -> str:
    if code in (401, 403):
        return "Set the service's key in the environment variable NEXTLONG_API_KEY."
    if code == 404:
        return "Check the address, and give the model's name as `model`."
    if 300 <= code < 400:
        return "Redirects are not followed, because they could carry the key elsewhere; give the final address."
    if code in (400, 413, 422):
        return "The texts may be too long for the model: set a smaller `window` or `batch_size`, and check `model`."
    return ""
