"""An app that talks over WebSockets through Sidekey: websocket_app.py PORT DIALECT CASE. Says what is wrong, or that nothing is.

Over HTTP/1.1 it is the `websockets` client, over HTTP/2 (RFC 8441) that library's protocol on streams of the `h2` library.
"""

import json
import os
import random
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol
from websockets.sync.client import connect

PORT, DIALECT, CASE = int(sys.argv[1]), sys.argv[2], sys.argv[3]
MESSAGES = 10_000 if DIALECT == "1.1" else 2_000


class OverHttp2:
    """A WebSocket on a stream of HTTP/2; one thread writes, and one reads."""

    def __init__(self, path, subprotocols=()):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=60)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.protocol = Protocol(CLIENT, max_size=None)
        self.turn = threading.Condition()
        self.answer, self.body, self.ended, self.frames = None, b"", False, []
        self.pieces = []
        self.http.initiate_connection()
        self.flush()
        while self.http.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL) != 1:
            self.read()
        fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", f"localhost:{PORT}"),
            ("sec-websocket-version", "13"),
            ("x-app", "mine"),
            ("authorization", "Bearer apps-own"),
        ]
        if subprotocols:
            fields.append(("sec-websocket-protocol", ", ".join(subprotocols)))
        self.http.send_headers(1, fields)
        self.flush()
        while self.answer is None:
            self.read()
        self.subprotocol = self.answer.get("sec-websocket-protocol")
        assert "sec-websocket-accept" not in self.answer and "upgrade" not in self.answer, self.answer
        if self.answer[":status"] != "200":
            while not self.ended:
                self.read()
            return
        threading.Thread(target=self.read_on, daemon=True).start()

    def flush(self):
        self.socket.sendall(self.http.data_to_send())

    def read(self):
        data = self.socket.recv(65536)
        assert data, "the connection was closed"
        with self.turn:
            for event in self.http.receive_data(data):
                self.take(event)
            self.flush()
            self.turn.notify_all()

    def take(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.answer = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.http.acknowledge_received_data(event.flow_controlled_length, 1)
            if self.answer[":status"] == "200":
                self.protocol.receive_data(event.data)
                self.frames += self.protocol.events_received()
                self.send_later()
            else:
                self.body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.ended = True
            if self.answer[":status"] == "200":
                self.protocol.receive_eof()
                self.send_later()
        elif isinstance(event, h2.events.StreamReset):
            self.ended = f"reset: {event.error_code}"
        if isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            self.send_pieces()

    def read_on(self):
        while not self.ended:
            self.read()

    def send_later(self):
        self.pieces += self.protocol.data_to_send()
        self.send_pieces()

    def send_pieces(self):
        while self.pieces:
            piece = self.pieces[0]
            if piece == b"":
                self.http.end_stream(1)
                self.pieces.pop(0)
                continue
            room = min(self.http.local_flow_control_window(1), self.http.max_outbound_frame_size, len(piece))
            if room == 0:
                break
            self.http.send_data(1, piece[:room])
            self.pieces[0] = piece[room:]
            if not self.pieces[0]:
                self.pieces.pop(0)
        self.flush()

    def send(self, message):
        with self.turn:
            if isinstance(message, str):
                self.protocol.send_text(message.encode())
            else:
                self.protocol.send_binary(message)
            self.send_later()

    def next(self):
        with self.turn:
            assert self.turn.wait_for(lambda: self.frames or self.ended, 60), "nothing comes"
            assert self.frames, self.ended
            return self.frames.pop(0)

    def recv(self):
        data, kind = bytearray(), None
        while True:
            frame = self.next()
            if frame.opcode is Opcode.PING:
                continue
            if frame.opcode is Opcode.CLOSE:
                raise ConnectionClosed(self.protocol.close_rcvd, self.protocol.close_sent, True)
            kind = frame.opcode if kind is None else kind
            data += frame.data
            if frame.fin:
                return data.decode() if kind is Opcode.TEXT else bytes(data)

    def ping(self, data):
        with self.turn:
            self.protocol.send_ping(data)
            self.send_later()
        frame = self.next()
        assert (frame.opcode, bytes(frame.data)) == (Opcode.PONG, data), frame

    def close(self, code=1000, reason=""):
        with self.turn:
            self.protocol.send_close(code, reason)
            self.send_later()
            assert self.turn.wait_for(lambda: self.ended, 60), "it does not end"
            assert self.ended is True, self.ended
            assert self.protocol.close_rcvd.code == code, self.protocol.close_rcvd


class OverHttp1:
    def __init__(self, path, subprotocols=None):
        fields = {"x-app": "mine", "authorization": "Bearer apps-own"}
        url = f"ws://localhost:{PORT}{path}"
        self.socket = connect(url, proxy=None, additional_headers=fields, subprotocols=subprotocols, max_size=None)
        self.subprotocol = self.socket.subprotocol
        self.send, self.recv, self.close = self.socket.send, self.socket.recv, self.socket.close

    def ping(self, data):
        assert self.socket.ping(data).wait(60), "no pong"


def opened(path, **options):
    return (OverHttp1 if DIALECT == "1.1" else OverHttp2)(f"/talks{path}", **options)


def messages():
    """In both directions at once, text and binary, of no byte and of hundreds of thousands."""
    chance = random.Random(7)

    def one():
        length = min(int(chance.paretovariate(0.5)) - 1, 300_000)
        if chance.random() < 0.5:
            return os.urandom(length)
        return "".join(chance.choice("aü€😀") for _ in range(min(length, 5_000)))

    sent = [one() for _ in range(MESSAGES)]
    talk = opened("/echo")
    failures = []

    def say():
        try:
            for message in sent:
                talk.send(message)
        except BaseException as error:
            failures.append(error)

    threading.Thread(target=say, daemon=True).start()
    for number, message in enumerate(sent):
        got = talk.recv()
        assert got == message, f"message {number} of {len(message)} came back with {len(got)}"
    assert not failures, failures
    talk.close()


def closing():
    talk = opened("/closes")
    talk.send("close it")
    try:
        got = talk.recv()
    except ConnectionClosed as closed:
        assert (closed.rcvd.code, closed.rcvd.reason) == (4321, "enough of it"), closed
    else:
        raise AssertionError(got)
    talk = opened("/echo")
    talk.close(4001, "bye")
    # Others may have ended before.
    assert any(json.loads(opened("/closed").recv()) == [4001, "bye"] for _ in range(50))


def pings():
    talk = opened("/echo")
    for size in (0, 1, 125):
        talk.ping(b"x" * size)
    assert opened("/pings").recv() == "it is there"


def told():
    seen = json.loads(opened("/told").recv())
    values = lambda name: [value for one, value in seen["fields"] if one == name]
    assert (seen["path"], seen["subject"]) == ("/v1/told", "partner"), seen
    assert values("authorization") == ["Bearer services-own"] and values("x-app") == ["mine"], seen
    assert values("connection") == ["Upgrade"] and values("upgrade") == ["websocket"], seen
    assert len(values("sec-websocket-key")) == 1 and values("sec-websocket-version") == ["13"], seen
    assert values("content-length") == [] and values("transfer-encoding") == [], seen
    assert values("host") == [f"localhost:{sys.argv[4]}"] and len(values("via")) == 1, seen
    assert values("via")[0].startswith("1.1 " if DIALECT == "1.1" else "2 "), seen


def subprotocols():
    assert opened("/echo", subprotocols=["first.v1", "other"]).subprotocol == "first.v1"
    assert opened("/echo").subprotocol is None


def refused():
    if DIALECT == "2":
        talk = opened("/refused")
        assert (talk.answer[":status"], talk.body) == ("403", b"not here\n"), (talk.answer, talk.body)
        return
    try:
        opened("/refused")
    except InvalidStatus as refusal:
        assert (refusal.response.status_code, refusal.response.body) == (403, b"not here\n"), refusal.response
    else:
        raise AssertionError("it was let in")


globals()[CASE]()
print("as it should be", flush=True)
