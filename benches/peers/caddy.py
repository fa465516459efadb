"""Caddy from the PyPI wheel."""

from task import Unsupported


class Caddy:
    def __init__(self, binary):
        self.binary = binary

    def configure(self, lab, task, port, service, _tokens):
        if task.upstream == "resumed":
            raise Unsupported("keeps no sessions to resume")
        protocols = "h1" if task.incoming == "1.1" else "h1 h2c"
        routes = "".join(f"""
    handle_path {prefix}/* {{
        rewrite * /v1{{uri}}
        import service
    }}""" for prefix, _ in task.prefixes())
        config = lab.write(f"caddy-{port}.Caddyfile", f"""
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
    servers {{
        protocols {protocols}
    }}
}}
(service) {{
    reverse_proxy https://127.0.0.1:{service.port(task)} {{
        header_up Host localhost:{service.port(task)}
        header_up Authorization "Bearer {lab.token}"
        # What a front proxy adds for others to read; no other peer does.
        header_up -X-Forwarded-For
        header_up -X-Forwarded-Host
        header_up -X-Forwarded-Proto
        transport http {{
            versions {"2" if task.protocol == "2" else "1.1"}
            # Else Go asks for gzip by itself.
            compression off
            # 5,000 clients at once are as many handshakes with the service.
            dial_timeout 30s
            tls_timeout 30s
            keepalive 60s
            keepalive_idle_conns_per_host {task.pool}
            tls_server_name localhost
            tls_trust_pool file {lab.folder}/ca.pem
            tls_client_auth {lab.folder}/client.pem {lab.folder}/client.key
        }}
    }}
}}
http://127.0.0.1:{port} {{{routes}
    handle {{
        respond 404
    }}
}}
""")
        # Go's threads are its workers. It keeps what it would write to the home folder in the lab's.
        return ([self.binary, "run", "--adapter", "caddyfile", "--config", config],
                {"GOMAXPROCS": str(task.workers), "HOME": str(lab.folder), "XDG_DATA_HOME": str(lab.folder)})

    def version(self):
        return [self.binary, "version"]
