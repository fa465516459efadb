// @jmondi/oauth2-server, with repositories in memory. It has no metadata.

import { AuthorizationServer, DateInterval, OAuthException, OAuthRequest } from '@jmondi/oauth2-server';
import { LIFETIME, SCOPES, form, secret, serve, versionOf } from './serving.js';

const scopes = SCOPES.map((name) => ({ name }));
const client = (id, ...allowedGrants) => ({ id, name: id, secret: secret(id), redirectUris: [], allowedGrants, scopes });
const CLIENTS = [
  client('by-basic', 'client_credentials'),
  client('by-odd', 'client_credentials'),
  client('by-post', 'client_credentials'),
  client('for-bob', 'password', 'refresh_token'),
];
const tokens = new Map();

const clientRepository = {
  getByIdentifier: async (id) => CLIENTS.find((client) => client.id === id),
  isClientValid: async (grant, client, secret) => client.secret === secret && client.allowedGrants.includes(grant),
};
let issued = 0;
const tokenRepository = {
  async issueToken(client, scopes, user) {
    issued += 1;
    return { accessToken: `token-${issued}`, accessTokenExpiresAt: new DateInterval('1h').getEndDate(), client, user, scopes };
  },
  async issueRefreshToken(token) {
    token.refreshToken = `refresh-${token.accessToken}`;
    token.refreshTokenExpiresAt = new DateInterval('1d').getEndDate();
    tokens.set(token.refreshToken, token);
    return token;
  },
  persist: async () => {},
  revoke: async (token) => void tokens.delete(token.refreshToken),
  isRefreshTokenRevoked: async (token) => !tokens.has(token.refreshToken),
  getByRefreshToken: async (token) => tokens.get(token),
};
const scopeRepository = {
  getAllByIdentifiers: async (names) => scopes.filter((scope) => names.includes(scope.name)),
  finalize: async (found) => found,
};
const userRepository = {
  getUserByCredentials: async (name, password) => (name === 'bob' && password === 'builder' ? { id: name } : undefined),
};

const server = new AuthorizationServer(clientRepository, tokenRepository, scopeRepository, 'the key of a test', {
  requiresPKCE: true,
});
const lifetime = new DateInterval(`${LIFETIME}s`);
server.enableGrantTypes(['client_credentials', lifetime], ['refresh_token', lifetime]);
server.enableGrantType({ grant: 'password', userRepository }, lifetime);

await serve(
  () => async (request, answer) => {
    if (request.url !== '/token') return answer.writeHead(404).end('Not Found');
    const asked = new OAuthRequest({ headers: request.headers, query: {}, body: await form(request) });
    try {
      const { status, headers, body } = await server.respondToAccessTokenRequest(asked);
      answer.writeHead(status, { ...headers, 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    } catch (error) {
      if (!(error instanceof OAuthException)) throw error;
      // As its adapter for Express answers.
      answer.writeHead(error.status, { 'Content-Type': 'application/json' });
      answer.end(JSON.stringify({ status: error.status, message: error.message }));
    }
  },
  versionOf('@jmondi/oauth2-server'),
);
