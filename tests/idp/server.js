// The identity provider of the tests: oidc-provider over HTTPS, with the clients that the tests use.
//
// It is started as `node server.js '{"certificate": FILE, "key": FILE, "ca": FILE, "lifetime": SECONDS}'`, prints one
// line of JSON with its two ports, and ends when its standard input does: a test that dies leaves nothing behind.
// On the port `control` (plain HTTP) `GET /token-requests` lists what came to the token endpoint.

import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const settings = JSON.parse(process.argv[2]);
const tokenRequests = [];

const server = createServer({
  cert: readFileSync(settings.certificate),
  key: readFileSync(settings.key),
  ca: readFileSync(settings.ca),
  requestCert: true,
  rejectUnauthorized: false, // a client without a certificate is a client too: the provider decides
});
const control = createPlainServer((_request, response) => response.end(JSON.stringify(tokenRequests)));

await Promise.all([listen(server), listen(control)]);
server.on('request', provider(`https://localhost:${server.address().port}`).callback());
process.stdin.on('end', () => process.exit()).resume();
console.log(JSON.stringify({ port: server.address().port, control: control.address().port }));

function listen(server) {
  return new Promise((ready) => server.listen(0, 'localhost', ready));
}

function provider(issuer) {
  const provider = new Provider(issuer, {
    clients: clients(),
    clientDefaults: { id_token_signed_response_alg: 'ES256' }, // the only kind of key there is
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'tls_client_auth'],
    scopes: ['payments.read', 'payments.write'],
    jwks: { keys: [signingKey()] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      mTLS: mutualTls(),
      resourceIndicators: jwtAccessTokens(),
    },
  });
  provider.use(async (context, next) => {
    await next();
    if (context.path === '/token') record(context);
  });
  return provider;
}

function clients() {
  const client = (id, fields) => ({
    client_id: id,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...fields,
  });
  return [
    client('by-basic', { client_secret: 'basic-secret', token_endpoint_auth_method: 'client_secret_basic' }),
    client('by-post', { client_secret: 'post-secret', token_endpoint_auth_method: 'client_secret_post' }),
    // RFC 6749 §2.3.1: both are form-encoded before they are joined, else the colon splits in the wrong place.
    client('odd:id%', { client_secret: 's3cr+t %&:=?/', token_endpoint_auth_method: 'client_secret_basic' }),
    client('by-certificate', {
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=partner',
      tls_client_certificate_bound_access_tokens: true,
    }),
  ];
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

function mutualTls() {
  const presented = (context) => {
    const { raw } = context.socket.getPeerCertificate();
    return raw && new X509Certificate(raw);
  };
  return {
    enabled: true,
    tlsClientAuth: true,
    certificateBoundAccessTokens: true,
    getCertificate: (context) => presented(context)?.toString(),
    certificateAuthorized: (context) => context.socket.authorized,
    certificateSubjectMatches: (context, property, expected) =>
      property === 'tls_client_auth_subject_dn' && presented(context)?.subject === expected,
  };
}

// Without a resource the provider's access tokens are opaque and live as long as it likes.
function jwtAccessTokens() {
  return {
    enabled: true,
    defaultResource: () => 'urn:payments',
    getResourceServerInfo: (_context, resource) => ({
      scope: 'payments.read payments.write',
      audience: resource,
      accessTokenTTL: settings.lifetime,
      accessTokenFormat: 'jwt',
      jwt: { sign: { alg: 'ES256' } },
    }),
    useGrantedResource: () => true,
  };
}

function record(context) {
  const { authorization } = context.headers;
  tokenRequests.push({
    status: context.status,
    client: context.oidc?.client?.clientId ?? null,
    authorization: authorization ?? null,
    fields: context.oidc?.body ?? {},
  });
}
