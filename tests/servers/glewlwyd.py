"""glewlwyd, as Debian packages it, with a database of its own and its plugin for OpenID Connect.

It speaks TLS itself. What is registered is registered as an administrator would, by its API.
"""

import gzip
import http.client
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

settings = json.loads(sys.argv[1])
SCOPES = ["read", "write"]
LIFETIME = 600


def secret(client_id):
    return settings["odd_secret" if client_id in ("by-odd", "by-post") else "secret"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        configuration = configure(Path(folder), port)
        command = ["glewlwyd", "--config-file", str(configuration)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            administrator = Administrator(port)
            administrator.register()
            print(json.dumps({"port": port, "version": version()}), flush=True)
            sys.stdin.read()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def configure(folder, port):
    database = folder / "database"
    script = gzip.open("/usr/share/doc/glewlwyd/database/init.sqlite3.sql.gz", "rt").read()
    with sqlite3.connect(database) as connection:
        connection.executescript(script)
    modules = "\n".join(
        f'{name}_module_path="/usr/lib/glewlwyd/{place}"'
        for name, place in [("user", "user"), ("client", "client"), ("user_auth_scheme", "scheme"), ("plugin", "plugin")]
    )
    configuration = folder / "glewlwyd.conf"
    configuration.write_text(
        f"""
port={port}
bind_address="127.0.0.1"
external_url="https://localhost:{port}"
login_url="login.html"
api_prefix="api"
log_mode="file"
log_level="INFO"
log_file="{folder}/log"
session_key="SESSION"
admin_scope="g_admin"
profile_scope="g_profile"
{modules}
use_secure_connection=true
secure_connection_key_file="{settings["key"]}"
secure_connection_pem_file="{settings["certificate"]}"
secure_connection_ca_file="{settings["ca"]}"
hash_algorithm="SHA512"
database = {{ type = "sqlite3"; path = "{database}"; }};
"""
    )
    return configuration


class Administrator:
    def __init__(self, port):
        self.port, self.session = port, None
        self.context = ssl.create_default_context(cafile=settings["ca"])
        self.log_in()

    def log_in(self):
        for _ in range(200):
            try:
                answer = self.post("/api/auth/", {"username": "admin", "password": "password"})
            except OSError:
                time.sleep(0.05)
                continue
            self.session = answer.getheader("set-cookie").split(";")[0]
            return
        sys.exit("glewlwyd does not answer")

    def post(self, path, body):
        connection = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=10)
        headers = {"Content-Type": "application/json", **({"Cookie": self.session} if self.session else {})}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(f"glewlwyd: {path}: {answer.status} {answer.read().decode()}")
        return answer

    def register(self):
        for name in SCOPES:
            self.post("/api/scope/", {"name": name, "display_name": name, "password_required": False, "scheme": {}})
        parameters = {
            "iss": f"https://localhost:{self.port}/api/oidc",
            "jwt-type": "sha",
            "jwt-key-size": "256",
            "key": "a key of a test",
            "cert": "",
            "access-token-duration": LIFETIME,
            "refresh-token-duration": 86400,
            "code-duration": 60,
            "refresh-token-rolling": True,
            "refresh-token-one-use": "never",
            "allow-non-oidc": True,
            "auth-type-client-enabled": True,
            "auth-type-password-enabled": True,
            "auth-type-refresh-enabled": True,
            "client-jwks-parameter": "jwks",
            "client-cert-source": "TLS",
            "client-cert-use-endpoint-aliases": False,
            "request-parameter-allow": True,
            "oauth-dpop-allowed": True,
            "oauth-dpop-iat-duration": 60,
        }
        plugin = {"module": "oidc", "name": "oidc", "display_name": "OIDC", "order_rank": 0, "parameters": parameters}
        self.post("/api/mod/plugin/", {**plugin, "readonly": False})
        user = {"username": "bob", "name": "Bob", "password": "builder", "enabled": True}
        self.post("/api/user/", {**user, "email": "", "scope": ["g_profile", *SCOPES]})
        for name, method, grants in [
            ("by-basic", "client_secret_basic", ["client_credentials"]),
            ("by-odd", "client_secret_basic", ["client_credentials"]),
            ("by-post", "client_secret_post", ["client_credentials"]),
            ("by-key", "private_key_jwt", ["client_credentials"]),
            ("by-certificate", "tls_client_auth", ["client_credentials"]),
            ("for-bob", "client_secret_basic", ["password", "refresh_token"]),
        ]:
            client = {"client_id": name, "name": name, "confidential": True, "enabled": True, "redirect_uri": []}
            client.update(scope=SCOPES, authorization_type=grants, token_endpoint_auth_method=[method])
            if method.startswith("client_secret"):
                client["client_secret"] = secret(name)
            elif method == "private_key_jwt":
                client["jwks"] = settings["jwks"]
            else:
                client["tls_client_auth_san_dns"] = "partner.example"
            self.post("/api/client/", client)


def version():
    told = subprocess.run(["dpkg-query", "--show", "--showformat", "${Version}", "glewlwyd"], capture_output=True, text=True)
    return told.stdout.split("-")[0]


main()
