"""Services that others wrote, each of which tells what it took for a request: `recorders.py FOLDER NAME:PORT...`.

Each answers with the body that it got and the target in `X-Seen`, and writes a line of JSON into FOLDER/NAME.seen for every
request that came to its end. Says `{}` once all listen; stops them when its standard input ends.
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path

import h11

import programs

folder, *wanted = sys.argv[1:]
folder = Path(folder)
os.chdir(folder)


def nginx(port, name="nginx", dialect=""):
    config = folder / f"recorder-{name}.conf"
    config.write_text(f"""
        load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
        daemon off; master_process off; pid recorder-{name}.pid; error_log recorder-{name}.log warn; events {{ }}
        http {{
            client_body_temp_path {name}.body; proxy_temp_path {name}.proxy; fastcgi_temp_path {name}.fastcgi;
            uwsgi_temp_path {name}.uwsgi; scgi_temp_path {name}.scgi; client_body_buffer_size 1m; keepalive_requests 1000000;
            log_format seen escape=json '{{"method":"$request_method","target":"$request_uri","host":"$http_host",'
                '"length":"$http_content_length","encoding":"$http_transfer_encoding"}}';
            map $status $is_whole {{ 200 1; default 0; }}
            server {{
                listen 127.0.0.1:{port} {dialect}; access_log {name}.seen seen if=$is_whole;
                location / {{ add_header X-Seen $request_uri; echo_read_request_body; echo_request_body; }}
            }}
        }}""")
    return ["nginx", "-e", f"recorder-{name}.log", "-p", str(folder), "-c", str(config)]


def apache(port):
    """What sends a body back there takes POST alone: all else gets 405, once it has come to its end, too."""
    modules = "".join(f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"
                      for module in ("mpm_event", "authz_core", "headers", "reflector"))
    config = folder / "recorder-apache.conf"
    config.write_text(f"""{modules}
ServerName localhost
ServerRoot {folder}
PidFile {folder}/recorder-apache.pid
ErrorLog {folder}/recorder-apache.log
DefaultRuntimeDir {folder}
StartServers 1
MaxKeepAliveRequests 0
Listen 127.0.0.1:{port}
LogFormat '{{"method":"%m","target":"%U%q","host":"%{{Host}}i","length":"%{{Content-Length}}i","encoding":"%{{Transfer-Encoding}}i"}}' seen
CustomLog {folder}/apache.seen seen "expr=%{{REQUEST_STATUS}} =~ /200|405/"
<Location />
    SetHandler reflector
    Header always set X-Seen "expr=%{{REQUEST_URI}}"
</Location>
""")
    return ["apache2", "-f", str(config), "-DFOREGROUND"]


def node(port):
    program = Path(__file__).parents[1] / ".bed/bin/node"
    return [str(program) if program.exists() else "node", "--single-threaded",
            str(Path(__file__).with_name("recorder.js")), str(port), str(folder / "node.seen")]


class H11:
    """h11, which is strict; whatever else than an end it finds wrong is told, too."""

    def __init__(self, port):
        self.seen = open(folder / "h11.seen", "a", buffering=1)
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, args=[listener], daemon=True).start()

    def accept(self, listener):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        with client:
            connection = h11.Connection(h11.SERVER)
            try:
                while self.exchange(client, connection):
                    connection.start_next_cycle()
            except (h11.ProtocolError, OSError) as error:
                if "closed" not in str(error) and not isinstance(error, OSError):
                    self.tell({"error": str(error)})

    def exchange(self, client, connection):
        request, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(client.recv(65536))
            elif isinstance(event, h11.Request):
                request = event
                if connection.they_are_waiting_for_100_continue:
                    client.sendall(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        fields = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        self.tell({"method": request.method.decode(), "target": request.target.decode(), "host": fields.get("host", ""),
                   "length": fields.get("content-length", ""), "encoding": fields.get("transfer-encoding", ""),
                   "trailers": [name.decode() for name, _ in event.headers]})
        headers = [("X-Seen", request.target), ("Content-Length", str(len(body)))]
        answer = connection.send(h11.Response(status_code=200, headers=headers))
        if request.method != b"HEAD":
            answer += connection.send(h11.Data(data=body))
        client.sendall(answer + connection.send(h11.EndOfMessage()))
        return connection.our_state is h11.DONE

    def tell(self, what):
        self.seen.write(json.dumps(what) + "\n")


COMMANDS = {"nginx": nginx, "nginx-http2": lambda port: nginx(port, "nginx-http2", "http2"), "apache": apache, "node": node}

processes = []
try:
    for name, port in (argument.split(":") for argument in wanted):
        if name == "h11":
            H11(int(port))
            continue
        process = programs.start(COMMANDS[name](int(port)), open(folder / f"recorder-{name}.out", "w"))
        processes.append(process)
        programs.until_listening(int(port), process)
    print("{}", flush=True)
    sys.stdin.read()
finally:
    programs.stop(processes)
