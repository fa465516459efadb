// What the servers on node of this folder share: HTTPS, and the words that serving.py tells, settings and clients.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

export const settings = JSON.parse(process.argv[2]);
export const SCOPES = ['read', 'write'];
export const LIFETIME = 600;
export const secret = (client) => settings[['by-odd', 'by-post'].includes(client) ? 'odd_secret' : 'secret'];

// `answers` makes the listener of requests for the issuer's URL, once the port is known.
export async function serve(answers, version) {
  const server = createServer({
    cert: readFileSync(settings.certificate),
    key: readFileSync(settings.key),
    ca: readFileSync(settings.ca),
    requestCert: true,
    rejectUnauthorized: false,
  });
  await new Promise((ready) => server.listen(0, 'localhost', ready));
  const { port } = server.address();
  server.on('request', await answers(`https://localhost:${port}`));
  process.stdin.on('end', () => process.exit()).resume();
  console.log(JSON.stringify({ port, version }));
}

export async function form(request) {
  let body = '';
  for await (const piece of request) body += piece;
  return Object.fromEntries(new URLSearchParams(body));
}

export function versionOf(name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file)).version;
}
