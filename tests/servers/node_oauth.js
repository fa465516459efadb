// @node-oauth/oauth2-server, with a model in memory. It has no metadata.

import OAuth2Server from '@node-oauth/oauth2-server';
import { LIFETIME, SCOPES, form, secret as secretOf, serve, versionOf } from './serving.js';

const CLIENTS = {
  'by-basic': ['client_credentials'],
  'by-odd': ['client_credentials'],
  'by-post': ['client_credentials'],
  'for-bob': ['password', 'refresh_token'],
};
const refreshTokens = new Map();

const model = {
  getClient: (id, secret) => secret === secretOf(id) && CLIENTS[id] && { id, grants: CLIENTS[id] },
  getUser: (name, password) => name === 'bob' && password === 'builder' && { name },
  getUserFromClient: (client) => ({ name: client.id }),
  validateScope: (_user, _client, scope) => (scope ?? ['read']).every((one) => SCOPES.includes(one)) && (scope ?? ['read']),
  saveToken(token, client, user) {
    const saved = { ...token, client, user };
    if (token.refreshToken) refreshTokens.set(token.refreshToken, saved);
    return saved;
  },
  getRefreshToken: (token) => refreshTokens.get(token),
  revokeToken: ({ refreshToken }) => refreshTokens.delete(refreshToken),
};

const server = new OAuth2Server({ model, accessTokenLifetime: LIFETIME });

await serve(
  () => async (request, answer) => {
    if (request.url !== '/oauth/token') return answer.writeHead(404).end('Not Found');
    const { headers, method } = request;
    const theirs = new OAuth2Server.Response({});
    const asked = new OAuth2Server.Request({ headers, method, query: {}, body: await form(request) });
    let body;
    try {
      await server.token(asked, theirs);
      body = theirs.body;
    } catch (error) {
      theirs.status = error.code;
      body = { error: error.name, error_description: error.message };
    }
    answer.writeHead(theirs.status, { ...theirs.headers, 'Content-Type': 'application/json' }).end(JSON.stringify(body));
  },
  versionOf('@node-oauth/oauth2-server'),
);
