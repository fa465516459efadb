// What tough-cookie, which most HTTP clients for Node keep their cookies in, makes of an answer through Sidekey.
//
// Reads { url, asks: [{ url, address }] }: gets each URL in turn, over this address, with one jar. Writes what each
// request sent as `Cookie`.

import { readFileSync } from 'node:fs';
import http from 'node:http';
import { CookieJar } from 'tough-cookie';

const jar = new CookieJar();

const get = (url, address, cookie) =>
  new Promise((resolve, reject) => {
    const [hostname, port] = address.split(':');
    const { pathname, search, host } = new URL(url);
    const headers = cookie ? { host, cookie } : { host };
    // A whole URL goes to a proxy as it is.
    const path = host === address || host.includes('localhost') ? pathname + search : url;
    http
      .get({ hostname, port, path, headers, setHost: false }, (answer) => {
        answer.resume();
        answer.on('end', () => resolve(answer.headers['set-cookie'] ?? []));
      })
      .on('error', reject);
  });

const sent = [];
for (const { url, address } of JSON.parse(readFileSync(0, 'utf8')).asks) {
  const cookie = await jar.getCookieString(url);
  sent.push(cookie);
  for (const set of await get(url, address, cookie)) {
    await jar.setCookie(set, url, { ignoreError: true });
  }
}
process.stdout.write(JSON.stringify(sent));
