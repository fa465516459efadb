// An app that opens a WebSocket over HTTP/2 by Node's own client (RFC 8441): `node websocket_app.js PORT PATH`. Says a message and
// ends once it has come back.
import assert from 'node:assert';
import http2 from 'node:http2';

const [port, path] = process.argv.slice(2);
const session = http2.connect(`http://localhost:${port}`);
session.on('remoteSettings', (settings) => {
    assert.equal(settings.enableConnectProtocol, true);
    const stream = session.request({
        ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13',
    });
    let got = Buffer.alloc(0);
    stream.on('response', (fields) => {
        assert.equal(fields[':status'], 200);
        // A frame of text, masked with zeros (RFC 6455 §5.2).
        stream.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from('hello')]));
    });
    stream.on('data', (piece) => {
        got = Buffer.concat([got, piece]);
        if (got.length < 7) return;
        assert.equal(got.toString('latin1'), '\x81\x05hello');
        stream.end();
    });
    stream.on('close', () => {
        assert.equal(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
        session.close(() => console.log('as it should be'));
    });
});
