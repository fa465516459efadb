// Node's HTTP server as a service that tells what it took for a request: `node recorder.js PORT FILE`.
import fs from 'node:fs';
import http from 'node:http';

const [port, file] = process.argv.slice(2);
const tell = (what) => fs.appendFileSync(file, JSON.stringify(what) + '\n');

const server = http.createServer((request, answer) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('error', () => {});
    request.on('end', () => {
        const { method, url, headers, trailers } = request;
        tell({ method, target: url, host: headers.host, length: headers['content-length'] ?? '',
            encoding: headers['transfer-encoding'] ?? '', trailers: Object.keys(trailers) });
        answer.setHeader('X-Seen', url);
        answer.end(Buffer.concat(pieces));
    });
});
// What breaks off is no fault of what came.
server.on('clientError', (error, socket) => {
    if (!['ECONNRESET', 'HPE_INVALID_EOF_STATE'].includes(error.code)) tell({ error: error.code });
    socket.destroy();
});
server.keepAliveTimeout = 60000;
server.listen(port, '127.0.0.1');
