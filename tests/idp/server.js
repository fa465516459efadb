// The identity provider of the tests: oidc-provider over HTTPS, with the clients, grants and partners beside this file.
//
// It is started as `node server.js SETTINGS`, prints one line of JSON with its ports, and ends when its standard input
// does: a test that dies leaves nothing behind. SETTINGS is JSON:
//
//   certificate, key, ca   files: its own certificate, and who signs those of clients
//   lifetime               of access tokens, in seconds
//   jwks, clients          public keys of clients, further clients: clients.js
//   issuers                public keys of those who sign assertions (RFC 7523): {ISSUER: JWK set}
//   partner                whose ways it has: partners.js
//   scopes                 further scopes that it grants, with spaces between them
//   mtls_aliases           true: certificates are asked for on a port of their own, `mtls`, that discovery names
//
// Ports: `port` (HTTPS), `mtls` where it was asked for, and `control`: control.js. Beside them, its `version`.

import { X509Certificate, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { parse } from 'node:querystring';
import { decodeJwt, decodeProtectedHeader, importJWK, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';
import { ANONYMOUS, JWT_BEARER, SIGNATURES, TOKEN_EXCHANGE, clients } from './clients.js';
import { controlPort, text } from './control.js';
import { RESOURCE, registerGrants } from './grants.js';
import { DISCOVERY, partner as chosen } from './partners.js';

const settings = JSON.parse(process.argv[2]);
const SCOPES = ['payments.read', 'payments.write', ...(settings.scopes?.split(' ') ?? [])];
const tokenRequests = [];
const key = signingKey();

const server = secureServer(!settings.mtls_aliases);
const mtls = settings.mtls_aliases && secureServer(true);
const control = controlPort({ provider: () => provider, verify, tokenRequests });
await Promise.all([server, mtls, control].filter(Boolean).map(listen));

const base = `https://localhost:${server.address().port}`;
const partner = chosen(settings.partner, base, settings);
const provider = makeProvider();
for (const secure of [server, mtls]) if (secure) secure.on('request', provider.callback());

process.stdin.on('end', () => process.exit()).resume();
const { version } = JSON.parse(readFileSync(new URL('node_modules/oidc-provider/package.json', import.meta.url)));
console.log(JSON.stringify({ port: port(server), mtls: mtls ? port(mtls) : null, control: port(control), version }));

function secureServer(requestCert) {
  return createServer({
    cert: readFileSync(settings.certificate),
    key: readFileSync(settings.key),
    ca: readFileSync(settings.ca),
    requestCert,
    rejectUnauthorized: false, // a client without a certificate is a client too: the provider decides
  });
}

function listen(server) {
  return new Promise((ready) => server.listen(0, '127.0.0.1', ready));
}

function port(server) {
  return server.address().port;
}

function makeProvider() {
  const provider = new Provider(partner.issuer, {
    clients: clients(settings),
    clientAuthMethods: [
      'client_secret_basic',
      'client_secret_post',
      'client_secret_jwt',
      'private_key_jwt',
      'tls_client_auth',
      'self_signed_tls_client_auth',
      'none',
    ],
    clientDefaults: { id_token_signed_response_alg: 'ES256' }, // the only kind of key there is
    discovery: { mtls_endpoint_aliases: mtls && { token_endpoint: `https://localhost:${port(mtls)}${partner.token}` } },
    enabledJWA: { clientAuthSigningAlgValues: SIGNATURES },
    extraTokenClaims: (_context, token) => token.extra,
    findAccount: (_context, subject) => ({ accountId: subject, claims: () => ({ sub: subject }) }),
    jwks: { keys: [key] },
    rotateRefreshToken: ({ oidc }) => oidc.client.clientId !== 'by-refresh-kept',
    routes: { token: partner.token },
    scopes: [...SCOPES, 'offline_access'], // the last one is what turns refresh tokens on
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: {
        enabled: true,
        nonceSecret: randomBytes(32),
        requireNonce: ({ oidc }) => oidc.client?.clientId === 'by-dpop-nonce',
      },
      introspection: { enabled: true, allowedPolicy: () => true },
      mTLS: mutualTls(),
      resourceIndicators: accessTokens(),
    },
  });
  registerGrants(provider, { settings, partner, verify });
  // What oidc-provider keeps to itself: `error_description` is the same for all that can be wrong with a grant.
  provider.on('grant.error', (context, error) => Object.assign(context.state, { detail: error.error_detail }));
  provider.use(async (context, next) => {
    if (context.path === partner.token) return tokenRequest(context, next);
    if (partner.discovery.includes(context.path)) context.path = DISCOVERY[0];
    else if (DISCOVERY.includes(context.path)) return undefined; // it has its document elsewhere: 404
    return next();
  });
  return provider;
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

function mutualTls() {
  return {
    enabled: true,
    tlsClientAuth: true,
    selfSignedTlsClientAuth: true,
    certificateBoundAccessTokens: true,
    getCertificate: (context) => presented(context)?.toString(),
    certificateAuthorized: (context) => context.socket.authorized,
    certificateSubjectMatches: (context, property, expected) =>
      property === 'tls_client_auth_subject_dn' && presented(context)?.subject === expected,
  };
}

function presented(context) {
  const { raw } = context.socket.getPeerCertificate();
  return raw && new X509Certificate(raw);
}

// Without a resource the provider's access tokens are opaque and live as long as it likes.
function accessTokens() {
  return {
    enabled: true,
    defaultResource: () => RESOURCE,
    getResourceServerInfo: (_context, resource) => {
      if (resource === 'urn:nobody') throw new errors.InvalidTarget('nobody is called that');
      return {
        scope: [...SCOPES, partner.scopes ?? ''].join(' ').trim(),
        audience: resource,
        accessTokenTTL: settings.lifetime,
        accessTokenFormat: partner.opaque || resource === 'urn:opaque' ? 'opaque' : 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      };
    },
    useGrantedResource: () => true,
  };
}

async function tokenRequest(context, next) {
  const fields = parse(await text(context.req));
  const { authorization = null } = context.headers;
  const { path } = context;
  const certificate = presented(context);
  const client = decoded(fields.client_assertion);
  const grant = decoded(fields.assertion);

  const refusal = partner.refusal?.({ path, fields, authorization, certificate, client, grant });
  if (refusal) {
    refuse(context, refusal);
  } else {
    context.req.body = asProviderWantsIt(fields, authorization);
    await next();
    if (context.status === 200) context.body = partner.answer?.(context.body, fields) ?? context.body;
    else if (partner.errors?.[context.body?.error]) refuse(context, partner.errors[context.body.error]);
  }
  tokenRequests.push({
    path,
    status: context.status,
    answer: context.body,
    detail: context.state.detail ?? null,
    client: context.oidc?.client?.clientId ?? null,
    authorization,
    scheme: authorization?.split(' ')[0] ?? null,
    fields,
    assertion: client,
    grant,
    dpop: context.headers.dpop ?? null,
    certificate: certificate?.fingerprint256.replaceAll(':', '').toLowerCase() ?? null,
    port: context.socket.localPort,
    headers: context.headers,
  });
}

function refuse(context, [status, error, error_description]) {
  context.status = status;
  context.body = { error, error_description };
  Object.assign(context.body, partner.failure?.(context.body));
}

function asProviderWantsIt(fields, authorization) {
  const { client_id, client_assertion, grant_type } = fields;
  const named = client_id || client_assertion || authorization;
  const body = { ...fields };
  if (!named && [JWT_BEARER, TOKEN_EXCHANGE].includes(grant_type)) body.client_id = ANONYMOUS;
  const resource = partner.resource?.(fields);
  if (resource) body.resource = resource;
  return body;
}

function decoded(token) {
  try {
    return { header: decodeProtectedHeader(token), payload: decodeJwt(token) };
  } catch {
    return null;
  }
}

// The claims of an access token of ours that is still good, whatever its format.
async function verify(token) {
  const { kty, crv, x, y } = key;
  const publicKey = await importJWK({ kty, crv, x, y }, key.alg);
  try {
    return (await jwtVerify(token, publicKey, { issuer: partner.issuer, typ: 'at+jwt' })).payload;
  } catch {
    const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
    if (!found?.isValid) return undefined;
    const { accountId, clientId, aud, scope, exp, iat, jkt, 'x5t#S256': x5t, extra } = found;
    const cnf = jkt || x5t ? { jkt, 'x5t#S256': x5t } : undefined;
    return { ...extra, sub: accountId ?? clientId, client_id: clientId, aud, scope, exp, iat, cnf };
  }
}
