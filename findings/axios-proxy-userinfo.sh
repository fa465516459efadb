#!/usr/bin/env bash
# axios 1.21.1 does not percent-decode the user and password of http_proxy; requests 2.34.2 and curl do.
#
# A proxy's password with a byte that a URL must encode arrives as two different passwords: of
# http_proxy=http://app:p%3Dw@127.0.0.1:PORT axios sends "app:p%3Dw" as Basic credentials, the others "app:p=w". Node's own
# URL class encodes more than RFC 3986 asks for (":", ";" and "=" in a password), so that a URL built with it is hit even
# where the password would do as it is. A secret that goes into such a variable should be of letters, digits, "-", "." , "_"
# and "~" alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix . axios@1.21.1
python3 -m venv venv
venv/bin/python3 -m pip install --quiet --disable-pip-version-check requests==2.34.2

cat > proxy.py <<'PY'
"""A proxy that forwards nothing: it answers each request with the credentials that it was shown."""
import base64
import http.server
import sys


class Proxy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        shown = self.headers.get("Proxy-Authorization", "Basic ").removeprefix("Basic ")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(base64.b64decode(shown))

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Proxy)
print(server.server_port, flush=True)
server.serve_forever()
PY
python3 proxy.py > port.txt &
proxy=$!
trap 'kill $proxy; rm -rf "$folder"' EXIT
for _ in $(seq 100); do [ -s port.txt ] && break; sleep 0.1; done
export http_proxy="http://app:p%3Dw@127.0.0.1:$(cat port.txt)"
unset no_proxy NO_PROXY

url=http://service.example/
{
    echo "curl: $(curl --silent $url)"
    echo "requests: $(venv/bin/python3 -c "import requests; print(requests.get('$url').text)")"
    echo "axios: $(node --input-type=module -e "import axios from 'axios'; console.log((await axios.get('$url')).data)")"
    echo "Node's URL: $(node -e "const u = new URL('http://h/'); u.password = 'a:b;c=d'; console.log(u.password)")"
} | tee seen.txt
cat > expected.txt <<'TEXT'
curl: app:p=w
requests: app:p=w
axios: app:p%3Dw
Node's URL: a%3Ab%3Bc%3Dd
TEXT
diff expected.txt seen.txt && echo 'as described'
