// undici's agent for a proxy, with a tunnel and without: proxy_agent.js PROXY USER:PASSWORD URL. Prints what comes back.
import { fetch, ProxyAgent, request } from 'undici';

const [proxy, login, url] = process.argv.slice(2);
const token = `Basic ${Buffer.from(login).toString('base64')}`;

for (const [how, proxyTunnel] of [['tunnel', true], ['no tunnel', false]]) {
    const dispatcher = new ProxyAgent({ uri: proxy, token, proxyTunnel });
    // On one connection after the other, and several at once.
    for (let round = 0; round < 3; round += 1) {
        const [got, posted] = await Promise.all([
            fetch(url, { dispatcher }),
            request(url, { dispatcher, method: 'POST', body: JSON.stringify({ amount: 42 }) }),
        ]);
        console.log(`${how}: GET ${url} ${got.status}\n${await got.text()}`);
        console.log(`${how}: POST ${url} ${posted.statusCode}\n${await posted.body.text()}`);
    }
    await dispatcher.close();
}

const stranger = new ProxyAgent({ uri: proxy, proxyTunnel: false });
const failure = await request(url, { dispatcher: stranger }).catch((error) => error);
console.log(`without its token: ${failure.message}`);
await stranger.close();
