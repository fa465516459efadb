"""S3, STS and the rest of a cloud, by moto: checks each signature (SigV4) as AWS does and keeps what it saw.

Started as `python3 aws_service.py CERTIFICATE KEY`; prints one line of JSON and ends when its standard input does:

    port, tls_port      plain HTTP and HTTPS, on loopback
    access_key_id, secret_access_key    of a user who may do everything
    role_arn            a role that a web identity may assume, and that may do everything

There is an S3 bucket `lab`. `GET /seen` lists the requests so far: method, target, headers, body (as text), status.
"""

import io
import json
import os
import sys
import threading

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"  # read by moto as it is imported: check signatures from the first on

from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

ACCOUNT = "123456789012"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
ANYONE = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Federated": "*"}, "Action": "sts:AssumeRoleWithWebIdentity"}
        ],
    }
)


def main(certificate, key):
    known = accounts()
    service = Recorder(DomainDispatcherApplication(create_backend_app))
    servers = [listen(service), listen(service, (certificate, key))]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = {"port": servers[0].server_port, "tls_port": servers[1].server_port}
    print(json.dumps({**ports, **known}), flush=True)
    sys.stdin.read()


def accounts():
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user("us-east-1", "lab")
    iam.put_user_policy("lab", "everything", EVERYTHING)
    key = iam.create_access_key("lab")
    role = iam.create_role("web", ANYONE, "/", None, "", [], "3600")
    iam.put_role_policy("web", "everything", EVERYTHING)
    s3_backends[ACCOUNT]["aws"].create_bucket("lab", "us-east-1")
    allow_web_identities()
    return {
        "access_key_id": key.access_key_id,
        "secret_access_key": key.secret_access_key,
        "role_arn": role.arn,
    }


def allow_web_identities():
    """The one action that nobody signs, as who asks for it has no key yet; moto would want a signature there too."""
    check = ActionAuthenticatorMixin._authenticate_and_authorize_normal_action

    def check_but_web_identities(self, resource="*"):
        if self._get_action() != "AssumeRoleWithWebIdentity":
            check(self, resource)

    ActionAuthenticatorMixin._authenticate_and_authorize_normal_action = check_but_web_identities


def listen(service, tls=None):
    return make_server("127.0.0.1", 0, service, threaded=True, request_handler=MotoRequestHandler, ssl_context=tls)


class Recorder:
    """Keeps each request on its way to moto."""

    def __init__(self, service):
        self.service = service
        self.seen = []

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/seen":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(self.seen).encode()]
        # A chunked body ends by itself; at the end of any other the connection does not.
        chunked = environ.get("wsgi.input_terminated")
        body = environ["wsgi.input"].read(*[] if chunked else [int(environ.get("CONTENT_LENGTH") or 0)])
        environ["wsgi.input"] = io.BytesIO(body)
        request = {
            "method": environ["REQUEST_METHOD"],
            "target": environ["REQUEST_URI"],
            "headers": headers(environ),
            "body": body.decode(errors="replace"),
        }
        self.seen.append(request)

        def start(status, *rest):
            request["status"] = int(status.split()[0])
            return start_response(status, *rest)

        return self.service(environ, start)


def headers(environ):
    names = {name: name[5:] for name in environ if name.startswith("HTTP_")}
    names.update({name: name for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)})
    return {short.replace("_", "-").lower(): environ[name] for name, short in names.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
