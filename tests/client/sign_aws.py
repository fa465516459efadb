"""A second opinion on an AWS signature (SigV4), by botocore.

Standard input: {"method", "url", "headers": those that are signed, "body", "time": "20261127T220000Z", "region", "service",
"access_key_id", "secret_access_key", "session_token"?}. Prints the headers of the signed request. Where `headers` has an
x-amz-content-sha256, that is what the payload counts as; else it is the body's hash.
"""

import json
import sys

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

METHODS = {"s3": S3SigV4Auth}


def sign(method, url, headers, body, time, region, service, access_key_id, secret_access_key, session_token=None):
    credentials = Credentials(access_key_id, secret_access_key, session_token)
    auth = METHODS.get(service, SigV4Auth)(credentials, service, region)
    given = {name.lower(): value for name, value in headers.items()}
    if "x-amz-content-sha256" in given:
        auth.payload = lambda _request: given["x-amz-content-sha256"]
    request = AWSRequest(method, url, given, body.encode())
    # The steps of `add_auth`, which takes no time of ours.
    request.context["timestamp"] = time
    auth._modify_request_before_signing(request)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(text, request))
    return {name.lower(): value for name, value in request.headers.items()}


if __name__ == "__main__":
    print(json.dumps(sign(**json.load(sys.stdin))))
