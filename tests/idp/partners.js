// How known identity providers differ from the book: where their endpoints are, what they want in a token request, what
// they say when it is not so, and what they answer. `partner` in the settings chooses one; without it the provider is
// as the RFCs have it.
//
// A partner has, as far as it needs them:
//   issuer      as its discovery document writes it          token      the path of its token endpoint
//   discovery   where that document is                       scopes     further scopes that it grants
//   refusal     [status, error, description] for a request that is not as documented, else nothing
//   assertion   the `aud` and the claims of an RFC 7523 assertion that it takes
//   resource    what the token is for, out of the request    opaque     whether its tokens are no JWTs
//   errors      its own words, status first, in place of oidc-provider's error of that name
//   answer      what it makes of a good answer               failure    what it adds to a bad one

import { X509Certificate, createHash } from 'node:crypto';
import { JWT_BEARER } from './clients.js';

export function partner(name, base, settings) {
  if (name && !PARTNERS[name]) throw new Error(`no partner is called ${name}`);
  return { issuer: base, token: '/token', discovery: DISCOVERY, ...PARTNERS[name]?.(base, settings) };
}

export const DISCOVERY = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];

const PARTNERS = {
  entra: (base, settings) => ({
    ...entra(base, settings),
    token: '/contoso/oauth2/v2.0/token',
    refusal: (request) => {
      const { scope } = request.fields;
      if (!scope) return missing('scope');
      if (!/\/\.default$/.test(scope)) {
        const rule = 'Client credential flows must have a scope value with /.default suffixed to the resource identifier';
        return [400, 'invalid_scope', `AADSTS1002012: The provided value for scope ${scope} is not valid. ${rule}.`];
      }
      return entraClient(request, settings);
    },
    resource: ({ scope }) => scope.replace(/\/\.default$/, ''),
    answer: ({ access_token, token_type, expires_in }) => ({
      token_type,
      expires_in,
      ext_expires_in: expires_in,
      access_token,
    }),
  }),

  'entra-v1': (base, settings) => ({
    ...entra(base, settings),
    token: '/contoso/oauth2/token',
    refusal: (request) => (request.fields.resource ? entraClient(request, settings) : missing('resource')),
    // Every number is a string there.
    answer: ({ access_token, token_type, expires_in }, { resource }) => ({
      token_type,
      expires_in: String(expires_in),
      ext_expires_in: String(expires_in),
      expires_on: String(now() + expires_in),
      not_before: String(now()),
      resource,
      access_token,
    }),
  }),

  okta: (base) => ({ ...okta(base, '/oauth2/default'), refusal: (request) => oktaRefusal(request, base) }),

  // The organization's own authorization server takes a signature only.
  'okta-org': (base) => ({
    ...okta(base, ''),
    token: '/oauth2/v1/token',
    refusal: (request) => {
      if (request.client) return oktaRefusal(request, base);
      const rule = 'must use the private_key_jwt token_endpoint_auth_method';
      return [401, 'invalid_client', `Client Credentials requests to the Org Authorization Server ${rule}.`];
    },
  }),

  auth0: (base) => ({
    issuer: `${base}/`, // with the slash
    token: '/oauth/token',
    refusal: ({ fields }) => {
      if (fields.audience) return undefined;
      const why = 'No audience parameter was provided, and no default audience has been configured';
      return [403, 'access_denied', why];
    },
    resource: ({ audience }) => audience,
    errors: { invalid_client: [401, 'access_denied', 'Unauthorized'] },
  }),

  salesforce: (_base, { issuers = {} }) => ({
    token: '/services/oauth2/token',
    opaque: true,
    scopes: 'api',
    assertion: { audience: SALESFORCE, claims: ['iss', 'sub', 'aud', 'exp'] },
    refusal: ({ fields, grant }) => {
      if (fields.grant_type !== JWT_BEARER) return [400, 'unsupported_grant_type', 'grant type not supported'];
      if (grant?.header.alg !== 'RS256') return [400, 'invalid_grant', 'invalid assertion'];
      const { iss, sub, aud, exp } = grant.payload;
      if (!issuers[iss]) return [400, 'invalid_client_id', 'client identifier invalid'];
      if (!SALESFORCE.includes(aud)) return [400, 'invalid_grant', 'audience is invalid'];
      if (!(exp > now() && exp <= now() + 300)) return [400, 'invalid_grant', 'invalid assertion'];
      if (!sub?.includes('@')) return [400, 'invalid_grant', "user hasn't approved this consumer"];
      return undefined;
    },
    errors: { invalid_grant: [400, 'invalid_grant', 'invalid assertion'] },
    // No `expires_in`: the session's length is a setting of the organization.
    answer: ({ access_token }) => ({
      access_token,
      scope: 'api',
      instance_url: 'https://contoso.my.salesforce.example',
      id: 'https://login.salesforce.com/id/00D50000000IZ3ZEAW/00550000001fg5OAAQ',
      token_type: 'Bearer',
    }),
  }),

  google: (base, { issuers = {} }) => ({
    token: '/token',
    opaque: true,
    scopes: GOOGLE_SCOPE,
    assertion: { audience: `${base}/token`, claims: ['iss', 'aud', 'exp', 'iat', 'scope'] },
    refusal: ({ fields, grant }) => {
      if (fields.grant_type !== JWT_BEARER) return [400, 'unsupported_grant_type', `Invalid grant_type: ${fields.grant_type}`];
      if (grant?.header.alg !== 'RS256') return [400, 'invalid_grant', 'Invalid JWT Signature.'];
      const { iss, aud, iat, exp, scope } = grant.payload;
      if (!issuers[iss]) return [400, 'invalid_grant', 'Invalid grant: account not found'];
      if (aud !== `${base}/token`) return [400, 'invalid_grant', 'Invalid JWT: Failed audience check.'];
      if (!(exp > now() && exp - iat <= 3600)) {
        const rule = 'Token must be a short-lived token (60 minutes) and in a reasonable timeframe';
        return [400, 'invalid_grant', `Invalid JWT: ${rule}. Check your iat and exp values in the JWT claim.`];
      }
      return scope ? undefined : [400, 'invalid_scope', 'Invalid OAuth scope or ID token audience provided.'];
    },
    errors: { invalid_grant: [400, 'invalid_grant', 'Invalid JWT Signature.'] },
    answer: ({ access_token, expires_in }) => ({ access_token, expires_in, token_type: 'Bearer' }),
  }),

  docusign: (_base, { issuers = {} }) => ({
    token: '/oauth/token',
    scopes: 'signature impersonation',
    assertion: { audience: DOCUSIGN, claims: ['iss', 'sub', 'aud', 'exp', 'iat', 'scope'] },
    refusal: ({ fields, grant }) => {
      if (fields.grant_type !== JWT_BEARER) return [400, 'unsupported_grant_type'];
      if (grant?.header.alg !== 'RS256') return [400, 'invalid_grant', 'no_valid_keys_or_signatures'];
      const { iss, sub, aud, iat, exp, scope = '' } = grant.payload;
      if (!issuers[iss]) return [400, 'invalid_grant', 'issuer_not_found'];
      if (aud !== DOCUSIGN) return [400, 'invalid_grant', 'invalid_audience'];
      if (!(exp > now() && exp - iat <= 3600)) return [400, 'invalid_grant', 'expired_grant'];
      if (!GUID.test(sub)) return [400, 'invalid_grant', 'user_not_found'];
      return ['signature', 'impersonation'].every((word) => scope.split(' ').includes(word))
        ? undefined
        : [400, 'consent_required'];
    },
    errors: { invalid_grant: [400, 'invalid_grant', 'no_valid_keys_or_signatures'] },
  }),

  keycloak: (base) => ({
    issuer: `${base}/realms/x`,
    token: '/realms/x/protocol/openid-connect/token',
    discovery: ['/realms/x/.well-known/openid-configuration'],
    errors: { invalid_client: [401, 'unauthorized_client', 'Invalid client or Invalid client credentials'] },
    answer: (body) => ({ ...body, refresh_expires_in: 0, 'not-before-policy': 0, scope: body.scope ?? 'profile email' }),
  }),

  // Open banking: the certificate says who it is, and every token is bound to it.
  ping: () => ({
    token: '/as/token.oauth2',
    discovery: DISCOVERY.slice(0, 1),
    refusal: ({ fields, authorization, certificate }) =>
      certificate && !authorization && !fields.client_secret && !fields.client_assertion
        ? undefined
        : [401, 'invalid_client', 'Client certificate is required, and nothing else.'],
  }),
};

function entra(base) {
  return {
    issuer: `${base}/contoso/v2.0`,
    discovery: ['/contoso/v2.0/.well-known/openid-configuration'],
    errors: { invalid_client: [401, 'invalid_client', 'AADSTS7000215: Invalid client secret provided.'] },
    failure: ({ error_description: text = '' }) => ({
      error_codes: [Number(/\d+/.exec(text)?.[0] ?? 0)],
      timestamp: new Date().toISOString(),
      trace_id: '255d1aef-8c98-452f-ac51-23d051240864',
      correlation_id: 'fb3d2015-bc17-4bb9-bb85-30c5cf1aaaa7',
    }),
  };
}

function entraClient({ fields, authorization, client }, { jwks = {} }) {
  if (!fields.client_id && !authorization) return missing('client_id');
  if (!client) return undefined;
  const { x5t, 'x5t#S256': x5tS256 } = client.header;
  if (!x5t && !x5tS256) {
    const why = 'No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in token header';
    return [401, 'invalid_client', `AADSTS5002723: Invalid JWT token. ${why}.`];
  }
  const known = (jwks[fields.client_id]?.keys ?? []).some(
    ({ x5c }) => x5c && (x5t ?? x5tS256) === thumbprint(x5c[0], x5t ? 'sha1' : 'sha256'),
  );
  const why = 'AADSTS700027: Client assertion contains an invalid signature. [Reason - The key was not found.]';
  return known ? undefined : [401, 'invalid_client', why];
}

function missing(field) {
  const why = `AADSTS900144: The request body must contain the following parameter: '${field}'.`;
  return [400, 'invalid_request', why];
}

function okta(base, path) {
  return {
    issuer: base + path,
    token: `${path}/v1/token`,
    discovery: DISCOVERY.map((document) => path + document),
    errors: { invalid_client: [401, 'invalid_client', 'The client credentials are invalid.'] },
  };
}

function oktaRefusal({ path, fields, client }, base) {
  if (client && client.payload.aud !== base + path) {
    const why = 'The audience claim for client_assertion must be the endpoint invoked for the request.';
    return [401, 'invalid_client', why];
  }
  if (client?.payload.exp > now() + 3600) {
    const why = 'The client_assertion token has an expiration too far into the future.';
    return [401, 'invalid_client', why];
  }
  if (fields.scope) return undefined;
  const why = "The authorization server resource does not have any configured default scopes, 'scope' must be provided.";
  return [400, 'invalid_scope', why];
}

function thumbprint(x5c, algorithm) {
  const { raw } = new X509Certificate(Buffer.from(x5c, 'base64'));
  return createHash(algorithm).update(raw).digest('base64url');
}

function now() {
  return Math.floor(Date.now() / 1000);
}

const SALESFORCE = ['https://login.salesforce.com', 'https://test.salesforce.com'];
const GOOGLE_SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const DOCUSIGN = 'account-d.docusign.com';
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
