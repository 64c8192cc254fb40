"""A server with OpenAI's protocol and the faults of real ones, as a process of its own.

`python unruly_server.py` prints its port. The model's name says how it behaves; GET /log lists what
was asked, GET /open lets the stalled answer.
"""

import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = "1. It begins with {said}\n2. It is done"
log, seen, inside = [], Counter(), Counter()
lock, opened, three = threading.Lock(), threading.Event(), threading.Barrier(3)


class Unruly(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/open":
            opened.set()
        self.send(200, json.dumps(log))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model, words = body["model"], body["messages"][-1]["content"]
        text = words if isinstance(words, str) else words[-1]["text"]
        said = text.split('this happens: "')[1].split('"')[0]
        with lock:
            seen[model] += 1
            number = seen[model]
            key = self.headers.get("Authorization")
            log.append({"model": model, "said": said, "key": key, "body": body})
        if not hasattr(self, model):
            return self.send(404, '{"error": "no such model"}')
        getattr(self, model)(number, said, body)

    def send(self, status, content, **headers):
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        for name, value in {"Content_Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def answer(self, said, content=None):
        content = ANSWER.format(said=said) if content is None else content
        self.send(200, json.dumps({"choices": [{"message": {"content": content}}]}))

    def good(self, number, said, body):
        self.answer(said)

    shown_states = shown_prepare = shown_predict = good

    def schema(self, number, said, body):
        shape = body["response_format"]["json_schema"]["schema"]["properties"]["states"]
        assert shape["minItems"] == shape["maxItems"] == 2
        self.answer(said, json.dumps({"states": [f"It begins with {said}", "It is done"]}))

    def no_schema(self, number, said, body):
        if "response_format" in body:
            return self.send(400, '{"error": "response_format is not supported"}')
        self.answer(said)

    def busy(self, number, said, body):
        self.answer(said) if number > 2 else self.send(429, "later", Retry_After=0)

    def flaky(self, number, said, body):
        self.answer(said) if number > 1 else self.send(500, "Internal Server Error")

    def cut(self, number, said, body):
        if number > 1:
            return self.answer(said)
        self.send(200, '{"choices": [{"mess', Content_Length=1000)
        self.close_connection = True

    def hang_up(self, number, said, body):
        if number > 1:
            return self.answer(said)
        self.close_connection = True
        self.connection.shutdown(2)

    def down(self, number, said, body):
        self.send(503, "down for the night")

    def garbage(self, number, said, body):
        self.send(200, b"<html>\xff\xfe proxy page")

    def wrong(self, number, said, body):
        self.send(200, '{"choices": [{"message": {"content": {"a": 1}}}]}')

    def deep(self, number, said, body):
        self.send(200, "[" * 100_000)

    def huge(self, number, said, body):
        self.send(200, json.dumps({"choices": [{"message": {"content": "x" * (3 << 20)}}]}))

    def silent(self, number, said, body):
        self.answer(said, None if "a null" in said else "")

    def nothing(self, number, said, body):
        self.send(200, '{"choices": [{"message": {"content": null, "refusal": "I cannot."}}]}')

    def parts(self, number, said, body):
        halves = [{"type": "text", "text": "1. It begins\n"}, {"type": "text", "text": "2. Done"}]
        self.send(200, json.dumps({"choices": [{"message": {"content": halves}}]}))

    def slow(self, number, said, body):
        opened.wait(60)

    def drip(self, number, said, body):
        self.send(200, "", Content_Length=100_000)
        try:
            while not opened.is_set():
                self.wfile.write(b" ")
                time.sleep(0.02)
        except OSError:
            pass
        self.close_connection = True

    def trickle(self, piece, pause):
        """The same bytes over and over, until the test is over or the client gone."""
        try:
            while not opened.is_set():
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            pass
        self.close_connection = True

    def letters(self, number, said, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.trickle(b"a", 0.05)

    def hints(self, number, said, body):
        self.trickle(b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001)

    def drip_of_hints(self, number, said, body):
        self.trickle(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0.1)

    def redirects(self, number, said, body):
        place = f"http://{self.headers['Host']}/v1/chat/completions?good_after_redirect"
        self.send(302, "elsewhere", Location=place)

    def steering_error(self, number, said, body):
        self.send(503, "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\nmore")

    def steering_header(self, number, said, body):
        self.wfile.write(b"HTTP/1.1 200 \x1b[2J\x07\r\nA\x1b[31m: b\r\n\r\n")
        self.close_connection = True

    def steering_page(self, number, said, body):
        self.send(200, "<html>\x1b[2J\x00\x08\x7f")

    def steering_refusal(self, number, said, body):
        self.send(401, "who \x1b[2J are you?")

    def steering_states(self, number, said, body):
        self.answer(said, "1. It \x1b[31mbegins\x07\n2. It \u202eis\x00 done\u2028")

    def picky(self, number, said, body):
        if "bad" in said:
            return self.send(400, '{"error": "the image is broken"}')
        self.answer(said)

    def locked(self, number, said, body):
        if self.headers.get("Authorization") != "Bearer sesame":
            return self.send(401, "who are you?")
        self.answer(said)

    def crowd(self, number, said, body):
        """Answers when three are inside at once, and says how many there have been at most."""
        with lock:
            inside["now"] += 1
            inside["most"] = max(inside["most"], inside["now"])
        try:
            three.wait(60)
        finally:
            with lock:
                inside["now"] -= 1
        self.answer(said, f"1. At most {inside['most']} at once\n2. {said}")

    def stalls(self, number, said, body):
        if number > 3:
            opened.wait(60)
        self.answer(said)


server = ThreadingHTTPServer(("127.0.0.1", 0), Unruly)
server.daemon_threads = True
print(server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
