#!/usr/bin/env bash
# Apache httpd 2.4.71: `Require ssl-verify-client` refuses everybody over HTTP/2, with a good certificate as without.
#
# The same client shows the same certificate, which the server has checked in the handshake. Over HTTP/1.1 it is let in, over
# HTTP/2 it gets 403. `Require expr "%{SSL_CLIENT_VERIFY} == 'SUCCESS'"` in its place tells the two apart over both. (mod_http2
# runs each request on a connection of its own that has no TLS; the variables are looked up at the one that has it, and
# `ssl-verify-client` looks at its own.) So a service that answers 403 to a certificate that it knows may want HTTP/1.1.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
if ! command -v apache2 >/dev/null || ! curl --version | grep -q HTTP2; then
  apt-get install --yes --no-install-recommends apache2-bin curl openssl >/dev/null
fi
folder=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 1 2>/dev/null
for name in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name 2>/dev/null
  printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n' >$name.ext
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -days 1 -out $name.pem 2>/dev/null
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for module in mpm_event authz_core http2 ssl status; do
  echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
done >httpd.conf
cat >>httpd.conf <<CONF
ServerName localhost
ServerRoot $folder
PidFile $folder/pid
ErrorLog $folder/log
DefaultRuntimeDir $folder
SSLSessionCache none
Listen 127.0.0.1:$port
<VirtualHost 127.0.0.1:$port>
    Protocols h2 http/1.1
    SSLEngine on
    SSLCertificateFile server.pem
    SSLCertificateKeyFile server.key
    SSLCACertificateFile ca.pem
    SSLVerifyClient optional
    <Location />
        SetHandler server-status
    </Location>
    <Location /require>
        Require ssl-verify-client
    </Location>
    <Location /expr>
        Require expr "%{SSL_CLIENT_VERIFY} == 'SUCCESS'"
    </Location>
</VirtualHost>
CONF
apache2 -f "$folder/httpd.conf" -DFOREGROUND &
server=$!
for _ in $(seq 100); do (echo >/dev/tcp/127.0.0.1/$port) 2>/dev/null && break || sleep 0.1; done

ask() {
  curl --silent --cacert ca.pem --output /dev/null --write-out 'HTTP/%{http_version}: %{http_code}\n' "$@"
}
for path in require expr; do
  for version in 1.1 2; do
    echo "$path, with a certificate, $(ask --http$version --cert client.pem --key client.key https://localhost:$port/$path)"
    echo "$path, without, $(ask --http$version https://localhost:$port/$path)"
  done
done >seen.txt
cat >expected.txt <<'TEXT'
require, with a certificate, HTTP/1.1: 200
require, without, HTTP/1.1: 403
require, with a certificate, HTTP/2: 403
require, without, HTTP/2: 403
expr, with a certificate, HTTP/1.1: 200
expr, without, HTTP/1.1: 403
expr, with a certificate, HTTP/2: 200
expr, without, HTTP/2: 403
TEXT
cat seen.txt
diff expected.txt seen.txt && echo 'as described'
