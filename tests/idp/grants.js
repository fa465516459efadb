// The grants that oidc-provider leaves to others: a user's password (RFC 6749 §4.3), a signed assertion (RFC 7523) and
// the exchange of a token (RFC 8693); and refresh tokens for which nobody had to log in.

import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import { errors } from 'oidc-provider';
import * as steps from 'oidc-provider/lib/helpers/grants.js';
import { JWT_BEARER, TOKEN_EXCHANGE } from './clients.js';

export function registerGrants(provider, { settings, partner, verify }) {
  const register = (name, subject, fields) =>
    provider.registerGrantType(name, async (context) => issue(provider, context, await subject(context)), [
      ...fields,
      'scope',
      'resource',
    ]);

  register('password', byPassword, ['username', 'password']);
  register(JWT_BEARER, byAssertion(provider, settings, partner), ['assertion']);
  register(TOKEN_EXCHANGE, byToken(verify), [
    'subject_token',
    'subject_token_type',
    'actor_token',
    'actor_token_type',
    'requested_token_type',
    'audience',
  ]);
}

// A refresh token as if its user had been here and had agreed.
export async function refreshToken(provider, clientId, accountId) {
  const client = await provider.Client.find(clientId);
  const scope = 'payments.read payments.write';
  const grant = new provider.Grant({ accountId, clientId });
  grant.addResourceScope(RESOURCE, scope);
  const token = new provider.RefreshToken({
    accountId,
    client,
    grantId: await grant.save(),
    gty: 'authorization_code',
    resource: RESOURCE,
    rotations: 0,
    scope,
  });
  return token.save();
}

// What a token is for if nobody says.
export const RESOURCE = 'urn:payments';

async function byPassword(context) {
  const { username, password } = required(context, 'username', 'password');
  if (USERS.get(username) !== password) throw new errors.InvalidGrant('no such user, or another password');
  return { subject: username };
}

function byAssertion(provider, settings, partner) {
  return async (context) => {
    const { assertion } = required(context, 'assertion');
    const { audience, claims = ['iss', 'sub', 'aud', 'exp', 'jti'] } = partner.assertion ?? {};
    const payload = await verifyAssertion(assertion, settings, {
      audience: audience ?? [provider.issuer, context.oidc.urlFor('token')],
      requiredClaims: claims,
    });
    if (payload.jti) await onlyOnce(provider, payload);
    // Google has the scope in here, and a `sub` only where the account acts for someone.
    if (typeof payload.scope === 'string') context.oidc.params.scope = payload.scope;
    return { subject: payload.sub ?? payload.iss, claims: { assertion_issuer: payload.iss } };
  };
}

async function verifyAssertion(assertion, { issuers = {}, jwks = {} }, wanted) {
  try {
    const { iss } = decodeJwt(assertion);
    const keys = issuers[iss] ?? jwks[iss];
    if (!keys) throw new Error(`nobody knows the issuer ${iss}`);
    return (await jwtVerify(assertion, createLocalJWKSet(keys), wanted)).payload;
  } catch (error) {
    throw new errors.InvalidGrant(`assertion: ${error.message}`);
  }
}

async function onlyOnce(provider, { iss, jti, exp }) {
  const unique = await provider.ReplayDetection.unique(iss, jti, exp);
  if (!unique) throw new errors.InvalidGrant('assertion: used before');
}

function byToken(verify) {
  return async (context) => {
    const { params } = context.oidc;
    required(context, 'subject_token', 'subject_token_type');
    const type = params.requested_token_type ?? TYPES.access;
    if (![TYPES.access, TYPES.jwt].includes(type)) throw new errors.InvalidRequest('requested_token_type is unknown');
    if (!params.actor_token !== !params.actor_token_type) {
      throw new errors.InvalidRequest('actor_token and actor_token_type go together');
    }
    const subject = await whoIs(verify, params.subject_token, params.subject_token_type);
    const actor = params.actor_token && (await whoIs(verify, params.actor_token, params.actor_token_type));
    params.resource ??= params.audience;
    return { subject, claims: actor && { act: { sub: actor } }, issuedTokenType: type };
  };
}

async function whoIs(verify, token, type) {
  if (!Object.values(TYPES).includes(type)) throw new errors.InvalidRequest(`${type} is no type of token`);
  const known = SUBJECTS.get(token) ?? (await verify(token))?.sub;
  if (!known) throw new errors.InvalidRequest('the token is not valid'); // RFC 8693 §2.2.2
  return known;
}

async function issue(provider, context, { subject, claims, issuedTokenType }) {
  const { client } = context.oidc;
  const proof = await steps.validateDpop(provider, context);
  steps.checkDpopRequired(provider, context, proof);
  const certificate = steps.checkMtlsCert(provider, context);
  const [server] = await steps.resolveRequestedResources(provider, context);

  const token = new provider.AccessToken({ accountId: subject, client, extra: claims, gty: 'custom' });
  token.resourceServer = server;
  token.scope = [...context.oidc.requestParamScopes].filter((scope) => server.scopes.has(scope)).join(' ') || undefined;
  if (certificate) token.setThumbprint('x5t', certificate);
  if (proof) {
    await steps.checkDpopReplay(provider, context, proof, client.clientId);
    token.setThumbprint('jkt', proof.thumbprint);
  }
  context.oidc.entity('AccessToken', token);
  context.body = steps.buildTokenResponse(provider, {
    accessToken: await token.save(),
    expiresIn: token.expiration,
    issuedTokenType,
    scope: token.scope,
    tokenType: token.tokenType,
  });
}

function required(context, ...names) {
  const { params } = context.oidc;
  const missing = names.filter((name) => !params[name]);
  if (missing.length) throw new errors.InvalidRequest(`missing: ${missing.join(', ')}`);
  return params;
}

const USERS = new Map([
  ['alice', 'wonder+land %&=ü'],
  ['bob', 'builder'],
]);

// Tokens of another world that this one believes in.
const SUBJECTS = new Map([
  ['a-token-of-alice', 'alice'],
  ['a-token-of-bob', 'bob'],
  ['a-token-of-the-batch-job', 'batch-job'],
]);

const TYPES = {
  access: 'urn:ietf:params:oauth:token-type:access_token',
  id: 'urn:ietf:params:oauth:token-type:id_token',
  jwt: 'urn:ietf:params:oauth:token-type:jwt',
  saml: 'urn:ietf:params:oauth:token-type:saml2',
};
