// The control port (plain HTTP): what a test asks of the provider behind its back.
//
//   GET  /token-requests                          what came to the token endpoint, in order
//   POST /refresh-tokens?client=ID[&account=NAME] {"refresh_token": …}, of alice if nobody is named
//   POST /introspect                              the body is a token: {"active": true, …its claims}, JWT or opaque

import { createServer } from 'node:http';
import { refreshToken } from './grants.js';

export function controlPort({ provider, verify, tokenRequests }) {
  const answers = {
    'GET /token-requests': () => tokenRequests,
    'POST /refresh-tokens': async ({ searchParams: query }) => ({
      refresh_token: await refreshToken(provider(), query.get('client'), query.get('account') ?? 'alice'),
    }),
    'POST /introspect': async (_url, body) => {
      const claims = await verify(body);
      return claims ? { active: true, ...claims } : { active: false };
    },
  };
  return createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const answer = answers[`${request.method} ${url.pathname}`];
    try {
      if (!answer) throw new Error(`${request.method} ${url.pathname} is nothing that the control port knows`);
      response.end(JSON.stringify(await answer(url, await text(request))));
    } catch (error) {
      response.writeHead(400).end(JSON.stringify({ error: error.message }));
    }
  });
}

export async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
