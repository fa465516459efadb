"""A second opinion on a DPoP proof (RFC 9449 §4.3), by joserfc.

Standard input: {"proof", "method", "url", "access_token"?, "nonce"?}. Prints {"header", "claims", "jkt"}, or ends with what
is wrong.
"""

import base64
import hashlib
import json
import sys
import time
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key
from verify_jwt import verify

ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256", "PS256"]


def check(proof, method, url, access_token=None, nonce=None):
    header = jws.extract_compact(proof.encode()).headers()
    jwk = header["jwk"]
    expect(header["typ"] == "dpop+jwt", "typ is dpop+jwt")
    expect(header["alg"] in ALGORITHMS, f"alg is one of {ALGORITHMS}")
    expect(not {"d", "p", "q", "k"} & jwk.keys(), "jwk is public")
    claims = verify(proof, jwk, header["alg"])["claims"]
    expect(len(claims["jti"]) >= 16, "jti is long enough to be unique")
    expect(claims["htm"] == method, f"htm is {method}")
    expect(claims["htu"] == urlsplit(url)._replace(query="", fragment="").geturl(), "htu is the url without its query")
    expect(abs(claims["iat"] - time.time()) < 60, "iat is now")
    expect(claims.get("nonce") == nonce, f"nonce is {nonce}")
    expect(claims.get("ath") == (hash_of(access_token) if access_token else None), "ath is the token's hash")
    return {"header": header, "claims": claims, "jkt": import_key(jwk).thumbprint()}


def expect(holds, promise):
    if not holds:
        sys.exit(f"it does not hold that {promise}")


def hash_of(token):
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=")


if __name__ == "__main__":
    try:
        print(json.dumps(check(**json.load(sys.stdin))))
    except (JoseError, KeyError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
