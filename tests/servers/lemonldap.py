"""LemonLDAP::NG's portal, as Debian packages it, behind nginx, which speaks TLS for it as its documentation has it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

settings = json.loads(sys.argv[1])
SCOPES = ["read", "write"]
LIFETIME = 600
CLIENTS = ("by-basic", "by-odd", "by-post", "for-bob")


def secret(client_id):
    return settings["odd_secret" if client_id in ("by-odd", "by-post") else "secret"]


DEFAULTS = Path("/var/lib/lemonldap-ng/conf/lmConf-1.json")


def main():
    with tempfile.TemporaryDirectory() as name:
        folder, (port, inner) = Path(name), free_ports(2)
        portal(folder, port)
        environment = {**os.environ, "LLNG_DEFAULTCONFFILE": str(folder / "lemonldap-ng.ini")}
        psgi = "/usr/share/lemonldap-ng/portal/htdocs/index.psgi"
        processes = [
            start(["plackup", "--host", "127.0.0.1", "--port", str(inner), "--env", "deployment", psgi], environment),
            start(["nginx", "-p", name, "-e", "stderr", "-c", str(front(folder, port, inner))], None),
        ]
        try:
            for listened in (inner, port):
                until_listening(listened)
            print(json.dumps({"port": port, "version": version()}), flush=True)
            sys.stdin.read()
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def start(command, environment):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": open(os.environ.get("SIDEKEY_TEST_LOG", os.devnull), "a")}
    return subprocess.Popen(command, env=environment, start_new_session=True, **quiet)


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def until_listening(port):
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nobody listens on {port}")


def portal(folder, port):
    for name in ("conf", "sessions/lock", "psessions/lock", "cache"):
        (folder / name).mkdir(parents=True)
    key = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    private = subprocess.run(key, capture_output=True, text=True, check=True).stdout
    public = subprocess.run(["openssl", "pkey", "-pubout"], input=private, capture_output=True, text=True, check=True)
    configuration = json.loads(DEFAULTS.read_text())
    store = lambda kind: {"Directory": str(folder / kind), "LockDirectory": str(folder / kind / "lock")}
    configuration.update(
        portal=f"https://localhost:{port}/",
        domain="localhost",
        globalStorageOptions=store("sessions"),
        persistentStorageOptions=store("psessions"),
        # They want libraries for images and mail that the package only recommends.
        portalDisplayRegister=0,
        portalDisplayResetPassword=0,
        portalDisplayCertificateResetByMail=0,
        captcha_login_enabled=0,
        captcha_mail_enabled=0,
        captcha_register_enabled=0,
        issuerDBOpenIDConnectActivation=1,
        oidcServicePrivateKeySig=private,
        oidcServicePublicKeySig=public.stdout,
        oidcServiceKeyIdSig="of-a-test",
        oidcServiceAllowAuthorizationCodeFlow=1,
        oidcServiceAccessTokenExpiration=LIFETIME,
        oidcRPMetaDataOptions={name: relying(name) for name in CLIENTS},
        oidcRPMetaDataScopeRules={
            name: {scope: "1" for scope in SCOPES} for name in CLIENTS
        },
    )
    (folder / "conf" / "lmConf-1.json").write_text(json.dumps(configuration))
    (folder / "lemonldap-ng.ini").write_text(
        f"""[all]
logLevel=error
[configuration]
type=File
dirName={folder}/conf
localStorage=Cache::FileCache
localStorageOptions={{ 'namespace' => 'config', 'default_expires_in' => 600, 'cache_root' => '{folder}/cache' }}
[portal]
templateDir=/usr/share/lemonldap-ng/portal/templates
staticPrefix=/static
languages=en
localSessionStorageOptions={{ 'namespace' => 'sessions', 'default_expires_in' => 600, 'cache_root' => '{folder}/cache' }}
"""
    )


def relying(name):
    method = {"by-post": "client_secret_post"}.get(name, "client_secret_basic")
    return {
        "oidcRPMetaDataOptionsClientID": name,
        "oidcRPMetaDataOptionsClientSecret": secret(name),
        "oidcRPMetaDataOptionsAllowClientCredentialsGrant": int(name != "for-bob"),
        "oidcRPMetaDataOptionsAllowPasswordGrant": int(name == "for-bob"),
        "oidcRPMetaDataOptionsAllowOffline": int(name == "for-bob"),
        "oidcRPMetaDataOptionsRefreshToken": int(name == "for-bob"),
        "oidcRPMetaDataOptionsTokenEndpointAuthMethod": method,
        "oidcRPMetaDataOptionsAccessTokenExpiration": LIFETIME,
    }


def front(folder, port, inner):
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""daemon off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {settings["certificate"]};
        ssl_certificate_key {settings["key"]};
        location / {{
            proxy_pass http://127.0.0.1:{inner};
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""
    )
    return configuration


def version():
    told = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Version}", "lemonldap-ng"], capture_output=True, text=True
    )
    return told.stdout.split("+")[0]


main()
