"""An HTTP/2 service by prior knowledge that tells how its requests were written: `field_blocks.py [TABLE_SIZE]`.

It answers each request by how many bytes its field block has, what the sender has had it remember (RFC 7541 §2.3.2), what
is never to be remembered (§6.2.3), and its `authorization`. `/table/SIZE` changes the size of the table before it is
answered; `/expired` takes no token but the one it has seen last, or the next.
"""

import json
import socket
import sys
import threading

from hpack import Decoder, NeverIndexedHeaderTuple

DATA, HEADERS, SETTINGS, PING, CONTINUATION = 0, 1, 4, 6, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
HEADER_TABLE_SIZE = 1

first_size = int(sys.argv[1]) if sys.argv[1:] else 4096


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def table_size(size):
    return frame(SETTINGS, 0, 0, HEADER_TABLE_SIZE.to_bytes(2, "big") + size.to_bytes(4, "big"))


class Connection:
    def __init__(self, raw):
        self.raw, self.input, self.decoder = raw, raw.makefile("rb"), Decoder()
        self.block, self.sizes, self.refused = b"", [first_size], None
        self.input.read(24)
        raw.sendall(table_size(first_size))

    def serve(self):
        while head := self.input.read(9):
            payload = self.input.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == SETTINGS and flags & ACK:
                # What follows has to keep to it: the decoder fails where it does not.
                self.decoder.max_allowed_table_size = self.sizes.pop(0)
            elif kind == SETTINGS:
                self.raw.sendall(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.raw.sendall(frame(PING, ACK, 0, payload))
            elif kind in (HEADERS, CONTINUATION):
                self.block += payload
                if flags & END_HEADERS:
                    block, self.block = self.block, b""
                    self.answer(stream, block)

    def answer(self, stream, block):
        fields = self.decoder.decode(block)
        never = sorted({name for name, value in fields if is_never(fields, name)})
        fields = dict(fields)
        path, token = fields[":path"], fields.get("authorization", "")
        if path.startswith("/table/"):
            self.sizes.append(int(path.rpartition("/")[2]))
            self.raw.sendall(table_size(self.sizes[-1]))
        if path == "/expired" and self.refused in (None, token):
            self.refused = token
            self.raw.sendall(frame(HEADERS, END_STREAM | END_HEADERS, stream, b"\x08\x03401"))
            return
        remembered = [name.decode() for name, value in self.decoder.header_table.dynamic_entries]
        told = {"bytes": len(block), "remembered": remembered, "never": never, "authorization": token, "stream": stream}
        self.raw.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88")
                         + frame(DATA, END_STREAM, stream, json.dumps(told).encode()))


def is_never(fields, wanted):
    return any(isinstance(field, NeverIndexedHeaderTuple) for field in fields if field[0] == wanted)


def accept(listener):
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=lambda: Connection(raw).serve(), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
sys.stdin.read()
