"""A JWT that somebody else than Sidekey has signed, by joserfc.

Standard input: {"header", "claims", "key": a PEM as text or {"secret": …}}. Prints {"token"}.
"""

import json
import sys

from joserfc import jwt
from verify_jwt import KINDS


def sign(header, claims, key):
    algorithm = header["alg"]
    if isinstance(key, dict):
        key = key["secret"]
    return jwt.encode(header, claims, KINDS[algorithm[:2]].import_key(key), algorithms=[algorithm])


if __name__ == "__main__":
    print(json.dumps({"token": sign(**json.load(sys.stdin))}))
