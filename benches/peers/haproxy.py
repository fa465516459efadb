"""HAProxy, as Debian packages it."""

def configure(lab, task, port, service, _tokens):
    alpn = " alpn h2" if task.protocol == "2" else ""
    strip = len(task.prefix())
    routes = lab.write(f"haproxy-{port}.map", "".join(f"{prefix}/ service{number}\n"
                                                      for prefix, number in task.prefixes()))
    # One route needs no map.
    choose = "service0" if task.routes == 1 else f"%[path,map_beg({routes})]"
    backends = "".join(f"""
backend service{number}
    # As the manual advises where the service is one's own.
    http-reuse always
    # No regular expression: all prefixes are of one length.
    http-request set-path /v1%[path,bytes({strip})]
    http-request set-header Authorization "Bearer {lab.token}"
    server service 127.0.0.1:{service.port(task)} pool-max-conn {task.pool} ssl ssl-min-ver TLSv1.3 verify required verifyhost localhost sni str(localhost) ca-file {lab.folder}/ca.pem crt {lab.folder}/client.both.pem{alpn}
""" for number in range(task.services))
    config = lab.write(f"haproxy-{port}.cfg", f"""
global
    nbthread {task.workers}
    maxconn {task.clients}
    # Else it closes idle connections to the service as soon as a quarter of its descriptors is in use, as it is by clients alone.
    tune.pool-low-fd-ratio 100
    tune.pool-high-fd-ratio 100
defaults
    mode http
    timeout client 600s
    timeout server 600s
    # 5,000 clients at once are as many handshakes with the service.
    timeout connect 30s
    # As long as the others keep an idle connection to the service; the default is 5 s.
    default-server pool-purge-delay 60s
frontend apps
    bind 127.0.0.1:{port} backlog 4096
    default_backend service0
    use_backend {choose}
{backends}""")
    return ["haproxy", "-db", "-f", config], {}


def version():
    return ["haproxy", "-v"]
