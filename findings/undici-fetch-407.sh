#!/usr/bin/env bash
# undici 6.29.1, the library behind Node's fetch: a 407 is no answer but a failure without a status.
#
# The same server, asked by the same client: with 401 fetch() resolves and shows status and body. With 407 it rejects
# with "TypeError: fetch failed"; neither error nor cause says 407, and the body that says why is not to be had. (The
# Fetch standard makes 407 a network error where there is no window to ask the user in. undici's own request() shows it.)
# So a server that is used as a base URL, and not as a proxy, should ask for credentials by 401.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix . undici@6.29.1

cat > ask.mjs <<'JS'
import { createServer } from 'node:http';
import { fetch, request } from 'undici';

const server = createServer((asked, answer) => {
  answer.writeHead(Number(asked.url.slice(1)), { 'content-type': 'text/plain' });
  answer.end('say who you are');
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const url = (status) => `http://127.0.0.1:${server.address().port}/${status}`;

for (const status of [401, 407]) {
  const seen = await fetch(url(status)).then(
    async (answer) => `${answer.status} ${await answer.text()}`,
    (error) => `${error.name}: ${error.message} (${error.cause?.message || 'no more is said'})`,
  );
  console.log(`fetch, ${status}: ${seen}`);
}
const answer = await request(url(407));
console.log(`request, 407: ${answer.statusCode} ${await answer.body.text()}`);
server.close();
process.exit(0);
JS
cat > expected.txt <<'TEXT'
fetch, 401: 401 say who you are
fetch, 407: TypeError: fetch failed (no more is said)
request, 407: 407 say who you are
TEXT
node ask.mjs | tee seen.txt
diff expected.txt seen.txt && echo 'as described'
