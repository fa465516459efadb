// An HTTPS server of Node's for HTTP/2 and HTTP/1.1 that has WebSockets over the latter: `node websocket_beside_http2.js CERTIFICATE KEY`.
//
// It answers requests with their version and how many connections there have been; what is said in a WebSocket comes back, byte by
// byte and frames or not.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';

const [certificate, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));
let connections = 0;
const server = http2.createSecureServer({ allowHTTP1: true, cert: certificate, key });
server.on('secureConnection', () => (connections += 1));
server.on('request', (request, answer) => answer.end(JSON.stringify({ version: request.httpVersion, connections })));
server.on('upgrade', (request, socket, early) => {
    const proof = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
    const accept = crypto.createHash('sha1').update(proof).digest('base64');
    const fields = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`];
    socket.write(['HTTP/1.1 101 Switching Protocols', ...fields, '', ''].join('\r\n'));
    socket.write(early);
    socket.pipe(socket);
    socket.on('error', () => {});
});
server.on('sessionError', () => {});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on('end', () => process.exit()).resume();
