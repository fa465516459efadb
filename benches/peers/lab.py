"""The bench's own ground: the common bed, a token, and the client's key in all the forms that peers want."""

import resource
import secrets

from bed import Bed


class Lab(Bed):
    def __init__(self):
        super().__init__("peers")
        # 800 bytes, as long as a JWT with a handful of claims.
        self.token = secrets.token_hex(400)
        allow_many_files()

    def make_certificates(self):
        super().make_certificates()
        for name in ("service", "client"):
            # Read by whoever runs the peers; the folder is gone soon.
            (self.folder / f"{name}.key").chmod(0o644)
        self.openssl("x509", "-in", "client.pem", "-outform", "DER", "-out", "client.der")
        self.openssl("pkcs8", "-topk8", "-nocrypt", "-in", "client.key", "-outform", "DER", "-out", "client.key.der")
        self.write("client.both.pem", self.read("client.pem") + self.read("client.key"))


def allow_many_files():
    """Thousands of connections here and in every process that is started, which inherits the limit."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files(), most_files()))


def most_files():
    """How many a process here may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
