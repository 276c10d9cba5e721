"""Asks a language model on a server that speaks the OpenAI chat protocol.

Ollama, llama.cpp, LM Studio and others do. This is the only module that opens a connection, and
the command line the only one that imports it. Nothing but the question leaves the machine, nothing
is followed, and a key is read from the environment, sent, and never written or said.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KEY = "STAGE_LLM_KEY"
"""The environment variable that holds the key of a server that wants one."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 600.0
_MAX_BYTES = 2**23
_LOCAL = ("localhost", "127.0.0.1", "::1")
_ENDS = ("/chat/completions", "/models")
_OFFLINE = (
    "start it (Ollama: 'ollama serve', LM Studio: the server in its Developer tab, llama.cpp: "
    "'llama-server -m MODEL.gguf') or correct --llm"
)

Message = dict[str, str]


@dataclass(frozen=True)
class Server:
    """A server by its address; `path` is where its protocol begins, such as /v1."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def at(cls, url: str) -> Server:
        """The server of an address such as http://localhost:11434.

        Raises:
            ValueError: not http or https, no host, or a name and password in it.
        """
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:
            raise ValueError(f"--llm {url!r:.100} is no address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"--llm {url!r:.100} is no address of a server; use http://HOST:PORT or https://HOST"
            )
        if parts.username or parts.password:
            raise ValueError(f"--llm has a name or password in it; put the key into {KEY}")
        path = parts.path.rstrip("/")
        for end in _ENDS:
            path = path.removesuffix(end)
        return cls(parts.scheme, parts.hostname, port, path or "/v1")

    @property
    def name(self) -> str:
        """The address as a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def models(self) -> tuple[str, ...]:
        """The names of the models that the server offers; empty where it does not say.

        Raises:
            ConnectionError: it is not there, or refuses.
        """
        status, data = self._ask("GET", "/models", None, CONNECT_SECONDS)
        _check_key(status, self.name)
        entries = data.get("data") if isinstance(data, dict) and status == 200 else None
        names = (entry.get("id") for entry in entries or () if isinstance(entry, dict))
        return tuple(_plain(name) for name in names if isinstance(name, str))

    def answer(self, model: str, messages: Sequence[Message]) -> str:
        """What the model answers.

        Raises:
            ConnectionError: the server is not there, has no such model, refuses, or does not
                speak the protocol; says what to do.
        """
        question = {"model": model, "messages": list(messages), "stream": False}
        status, data = self._ask("POST", "/chat/completions", question, ANSWER_SECONDS)
        _check_key(status, self.name)
        if status == 404:
            raise ConnectionError(self._no_model(model))
        if status != 200:
            raise ConnectionError(f"{self.name} answers with error {status}: {_reason(data)}")
        try:
            content = data["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            content = None
        if not isinstance(content, str):
            raise ConnectionError(
                f"{self.name} answers, but not as an OpenAI-compatible server; is --llm right?"
            )
        return content

    def _no_model(self, model: str) -> str:
        names = self.models()
        if not names:
            return f"{self.name} finds neither the model {model!r:.80} nor a list; is --llm right?"
        return (
            f"{self.name} has no model {model!r:.80}; it has {', '.join(names[:20])}; name one "
            "with --model, or fetch it (Ollama: 'ollama pull NAME')"
        )

    def _ask(self, verb: str, end: str, body: Any, seconds: float) -> tuple[int, Any]:
        """Status and JSON of one request. No redirection is followed, so no key goes astray."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        headers = self._headers()
        kind = HTTPSConnection if self.scheme == "https" else HTTPConnection
        connection = kind(self.host, self.port, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
            # A model may think for minutes; that a server is not there is known in seconds.
            connection.sock.settimeout(seconds)
            sent = None if body is None else json.dumps(body).encode()
            connection.request(verb, f"{self.path}{end}", sent, headers)
            response = connection.getresponse()
            received = response.read(_MAX_BYTES + 1)
        except TimeoutError:
            raise ConnectionError(
                f"{self.name} did not answer in time; a smaller model answers sooner, and if it is "
                f"not running, {_OFFLINE}"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = _plain(str(error)) or type(error).__name__
            raise ConnectionError(
                f"no server answers at {self.name} ({reason}); {_OFFLINE}"
            ) from None
        finally:
            connection.close()
        if len(received) > _MAX_BYTES:
            raise ConnectionError(f"{self.name} answered with more than {_MAX_BYTES} bytes")
        return response.status, _json(received)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(KEY, "").strip()
        if not key:
            return headers
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ValueError(f"{KEY} holds characters that no key has; copy it again")
        if self.scheme == "http" and self.host not in _LOCAL:
            raise ValueError(f"{KEY} would go to {self.name} unencrypted; use https, or unset it")
        return {**headers, "Authorization": f"Bearer {key}"}


def choose_model(server: Server, wanted: str) -> str:
    """The model to ask: the one wanted, else the only one that the server has.

    Raises:
        ValueError: it has several, and none is wanted.
        ConnectionError: the server is not there.
    """
    if wanted:
        return wanted
    names = server.models()
    if len(names) > 1:
        raise ValueError(f"{server.name} has {', '.join(names[:20])}; choose one with --model")
    # A server that does not say has one model, and does not mind what it is called.
    return names[0] if names else "default"


def _check_key(status: int, name: str) -> None:
    if status in (401, 403):
        raise ConnectionError(f"{name} wants a key ({status}); put it into the variable {KEY}")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _reason(data: Any) -> str:
    error = data.get("error") if isinstance(data, dict) else None
    text = error.get("message") if isinstance(error, dict) else error
    return _plain(text) if isinstance(text, str) and text.strip() else "it does not say why"


def _plain(text: str) -> str:
    """Words of a server for a terminal: one line, nothing that moves the cursor."""
    words = "".join(mark if mark.isprintable() else " " for mark in text)
    return " ".join(words.split())[:200]
