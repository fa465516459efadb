"""A second opinion on a JWT, by joserfc.

Standard input: {"token", "key": a JWK, a PEM as text, or {"secret": …}, "algorithm"}. Prints {"header", "claims"}, or ends
with what is wrong.
"""

import json
import sys

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

KINDS = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey, "HS": OctKey}


def verify(token, key, algorithm):
    if isinstance(key, dict):
        key = key.get("secret", key)
    decoded = jwt.decode(token, KINDS[algorithm[:2]].import_key(key), algorithms=[algorithm])
    return {"header": decoded.header, "claims": decoded.claims}


if __name__ == "__main__":
    try:
        print(json.dumps(verify(**json.load(sys.stdin))))
    except JoseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
