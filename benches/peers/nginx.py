"""nginx, as Debian packages it: a peer, and the service behind all peers."""

from task import Unsupported

ECHO = "/usr/lib/nginx/modules/ngx_http_echo_module.so"


def configure(lab, task, port, service, _tokens):
    if task.protocol != "1.1":
        raise Unsupported("speaks HTTP/1 alone to services")
    if task.incoming != "1.1":
        raise Unsupported("speaks HTTP/2 without TLS on a port for nothing else")
    # The documentation's way to keep connections: `keepalive`, HTTP/1.1, and an empty `Connection`.
    keepalive = f"keepalive {task.pool}; keepalive_requests 1000000000;"
    upstreams = "".join(f"upstream service{number} {{ server 127.0.0.1:{service.port(task)}; {keepalive} }}\n"
                        for number in range(task.services))
    locations = "".join(f"location {prefix}/ {{ proxy_pass https://service{number}/v1/; }}\n"
                        for prefix, number in task.prefixes())
    command = lab.nginx(f"nginx-{port}", f"""
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
        }}""", task.workers, places(task.clients))
    return command, {}


def places(clients):
    """For so many clients, each with a connection to the service: nginx closes idle ones once less than a sixteenth is left."""
    return 2 * clients * 17 // 15


def version():
    return ["nginx", "-v"]
