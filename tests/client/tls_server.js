// An HTTPS server of Node's that wants a client certificate: `node tls_server.js TLS PORT PORT`, TLS 1.2 and 1.3.
import fs from 'node:fs';
import https from 'node:https';

const [folder, ...ports] = process.argv.slice(2);
const read = (file) => fs.readFileSync(`${folder}/${file}`);

['TLSv1.2', 'TLSv1.3'].forEach((version, index) => {
    const settings = {
        cert: read('server.pem'),
        key: read('server.key'),
        ca: read('ca.pem'),
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: version,
        maxVersion: version,
    };
    https.createServer(settings, (_, answer) => answer.end('ok')).listen(Number(ports[index]), '127.0.0.1');
});
