"""nginx, as Debian packages it: a peer, and the service behind all peers."""

import os

from task import Unsupported

ECHO = "/usr/lib/nginx/modules/ngx_http_echo_module.so"


def configure(lab, task, port, service, _tokens):
    if task.protocol != "1.1":
        raise Unsupported("speaks HTTP/1 alone to services")
    # The documentation's way to keep connections: `keepalive`, HTTP/1.1, and an empty `Connection`.
    keepalive = f"keepalive {task.pool}; keepalive_requests 1000000000;"
    upstreams = "".join(f"upstream service{number} {{ server 127.0.0.1:{service.port(task)}; {keepalive} }}\n"
                        for number in range(task.services))
    locations = "".join(f"location {prefix}/ {{ proxy_pass https://service{number}/v1/; }}\n"
                        for prefix, number in task.prefixes())
    config = main(lab, f"nginx-{port}", f"""
        {upstreams}
        server {{
            listen 127.0.0.1:{port} backlog=4096;
            client_max_body_size 2m;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host localhost:{service.port(task)};
            proxy_set_header Authorization "Bearer {lab.token}";
            proxy_ssl_certificate {lab.folder}/client.pem;
            proxy_ssl_certificate_key {lab.folder}/client.key;
            proxy_ssl_trusted_certificate {lab.folder}/ca.pem;
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.3;
            # Bodies stream through, as with every other peer, and never go by way of a file.
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            # As long as a TLS record: the default of 4 KiB makes large answers half as dear again.
            proxy_buffers 8 16k;
            {locations}
        }}""", task.workers, 2 * task.clients)
    return command(lab, config), {}


def main(lab, name, servers, workers=1, connections=16384, load_module=None):
    user = "user root;" if os.geteuid() == 0 else ""
    module = f"load_module {load_module};" if load_module else ""
    temporary = "".join(f"{kind}_temp_path {lab.folder}/{name}.{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return lab.write(f"{name}.conf", f"""
        {module}
        {user}
        daemon off;
        worker_processes {workers};
        pid {lab.folder}/{name}.pid;
        error_log {lab.folder}/{name}.log warn;
        events {{ worker_connections {connections}; }}
        http {{
            access_log off;
            # The load tool and the peers keep their connections for as long as they like.
            keepalive_requests 1000000000;
            keepalive_timeout 600s;
            map_hash_bucket_size 2048;
            {temporary}
            {servers}
        }}""")


def command(lab, config):
    return ["nginx", "-c", config, "-p", lab.folder, "-e", config.with_suffix(".log")]


def version():
    return ["nginx", "-v"]
