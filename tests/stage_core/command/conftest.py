"""A server that speaks the OpenAI chat protocol and answers as it was told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Stub:
    """A server; `replies` are (status, body) in order, the last again and again."""

    def __init__(self, models=("small",)):
        self.replies, self.models, self.asked, self.keys = [], list(models), [], []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                listed = {"data": [{"id": name} for name in stub.models]}
                self.reply(200, json.dumps(listed))

            def do_POST(self):
                stub.keys.append(self.headers.get("Authorization"))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.asked.append((self.path, json.loads(body)))
                status, text = stub.replies.pop(0) if len(stub.replies) > 1 else stub.replies[0]
                self.reply(status, text)

            def reply(self, status, text):
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Location", "http://elsewhere.invalid/")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def says(self, *contents):
        self.replies = [
            (200, json.dumps({"choices": [{"message": {"content": text}}]})) for text in contents
        ]


@pytest.fixture
def stub():
    made = Stub()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()
