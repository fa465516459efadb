// The clients of the identity provider: one for each way to authenticate at a token endpoint, and a few that ask for
// more: bound tokens, DPoP, refresh tokens.
//
// The tests make the keys, so public keys come with the settings: `jwks` has a JWK set for each client that signs (or,
// with `x5c`, shows a certificate of its own). A client whose keys nobody gave does not exist. `clients` adds others,
// in the provider's own words (RFC 7591), or replaces one of these.

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

// Stands for whoever names no client: both grants below allow that, the provider does not.
export const ANONYMOUS = 'anonymous';

// What a client may sign its assertions with.
export const SIGNATURES = [
  ...['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'],
  'EdDSA',
];

export function clients({ jwks = {}, clients: further = [] }) {
  const all = new Map([...KNOWN, ...further].map((fields) => [fields.client_id, client(fields, jwks)]));
  return [...all.values()].filter((fields) => fields.jwks || !NEEDS_KEYS.includes(fields.token_endpoint_auth_method));
}

function client(fields, jwks) {
  return {
    grant_types: ['client_credentials', 'refresh_token', 'password', JWT_BEARER, TOKEN_EXCHANGE],
    redirect_uris: [],
    response_types: [],
    jwks: jwks[fields.client_id],
    ...fields,
  };
}

const NEEDS_KEYS = ['private_key_jwt', 'self_signed_tls_client_auth'];

const KNOWN = [
  { client_id: 'by-basic', client_secret: 'basic-secret', token_endpoint_auth_method: 'client_secret_basic' },
  { client_id: 'by-post', client_secret: 'post-secret', token_endpoint_auth_method: 'client_secret_post' },
  // RFC 6749 §2.3.1: both are form-encoded before they are joined, else the colon splits in the wrong place.
  { client_id: 'odd:id%', client_secret: 's3cr+t %&:=?/', token_endpoint_auth_method: 'client_secret_basic' },
  {
    client_id: 'by-secret-jwt',
    client_secret: 'a secret that is long enough to be a key of HS256',
    token_endpoint_auth_method: 'client_secret_jwt',
  },
  ...['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'].map((algorithm) => ({
    client_id: `by-${algorithm.toLowerCase()}`,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: algorithm,
  })),
  { client_id: 'by-key', token_endpoint_auth_method: 'private_key_jwt' },
  {
    client_id: 'by-certificate',
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_subject_dn: 'CN=partner',
    tls_client_certificate_bound_access_tokens: true,
  },
  {
    client_id: 'by-own-certificate',
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    tls_client_certificate_bound_access_tokens: true,
  },
  // Says who it is by its secret, and its token is bound to the certificate all the same.
  {
    client_id: 'by-secret-bound',
    client_secret: 'bound-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    tls_client_certificate_bound_access_tokens: true,
  },
  { client_id: 'by-name', token_endpoint_auth_method: 'none' },
  { client_id: ANONYMOUS, token_endpoint_auth_method: 'none' },
  {
    client_id: 'by-dpop',
    client_secret: 'dpop-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    dpop_bound_access_tokens: true,
  },
  {
    client_id: 'by-dpop-nonce',
    client_secret: 'dpop-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    dpop_bound_access_tokens: true,
  },
  // Each use of a refresh token gives a new one; the old one, used again, ends them all.
  { client_id: 'by-refresh', client_secret: 'refresh-secret', token_endpoint_auth_method: 'client_secret_basic' },
  // Keeps its refresh token for ever.
  { client_id: 'by-refresh-kept', client_secret: 'refresh-secret', token_endpoint_auth_method: 'client_secret_basic' },
  // A service that asks whether a token is good.
  { client_id: 'service', client_secret: 'service-secret', token_endpoint_auth_method: 'client_secret_basic' },
];
