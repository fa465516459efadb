// An HTTPS server of Node's for both HTTP/1.1 and HTTP/2: `node http_1_1_required.js CERTIFICATE KEY`.
//
// Below /strict/ it resets streams of HTTP/2 with HTTP_1_1_REQUIRED, as IIS does where a path wants a client certificate; below
// /strict/late/ once it has read 100,000 bytes of the body.
// All else it answers with what it saw: the request, how often this very request was served, how many streams it has reset,
// and what ALPN the connections offered.
import fs from 'node:fs';
import http2 from 'node:http2';

const [certificate, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));
const served = new Map();
const offers = [];
let resets = 0;

const choose = ({ protocols }) => {
    offers.push(protocols.join(' '));
    return protocols[0];
};
const server = http2.createSecureServer({ allowHTTP1: true, cert: certificate, key, ALPNCallback: choose });
server.on('request', (request, answer) => {
    const { httpVersion: version, method, url } = request;
    let bytes = 0;
    const isStrict = version === '2.0' && url.startsWith('/strict/');
    const reset = () => {
        resets += 1;
        request.stream.on('error', () => {});
        request.stream.close(http2.constants.NGHTTP2_HTTP_1_1_REQUIRED);
    };
    if (isStrict && !url.startsWith('/strict/late/')) return reset();
    request.on('data', (piece) => {
        bytes += piece.length;
        if (isStrict && bytes >= 100_000 && !request.stream.closed) reset();
    });
    request.on('end', () => {
        served.set(url, (served.get(url) ?? 0) + 1);
        answer.end(JSON.stringify({ version, method, bytes, times: served.get(url), resets, offers }));
    });
});
server.on('sessionError', () => {});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on('end', () => process.exit()).resume();
