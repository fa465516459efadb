// better-auth with its plugin @better-auth/oauth-provider, and a database in memory.

import { oauthProvider } from '@better-auth/oauth-provider';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';
import { LIFETIME, SCOPES, secret, serve, settings, versionOf } from './serving.js';

await serve(async (issuer) => {
  const database = new Proxy({}, { get: (tables, name) => (tables[name] ??= []), has: () => true });
  const auth = betterAuth({
    baseURL: issuer,
    secret: 'a secret of a test that is long enough',
    database: memoryAdapter(database),
    logger: { disabled: true },
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    plugins: [
      jwt(),
      oauthProvider({
        loginPage: '/login',
        consentPage: '/consent',
        scopes: SCOPES,
        m2mAccessTokenExpiresIn: LIFETIME,
        silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
        storeClientSecret: { hash: async (secret) => secret },
      }),
    ],
  });
  const { adapter } = await auth.$context;
  const methods = {
    'by-basic': 'client_secret_basic',
    'by-odd': 'client_secret_basic',
    'by-post': 'client_secret_post',
    'by-key': 'private_key_jwt',
  };
  for (const [clientId, tokenEndpointAuthMethod] of Object.entries(methods)) {
    const keys = tokenEndpointAuthMethod === 'private_key_jwt';
    const data = {
      clientId,
      clientSecret: keys ? null : secret(clientId),
      jwks: keys ? JSON.stringify(settings.jwks) : null,
      tokenEndpointAuthMethod,
      grantTypes: ['client_credentials'],
      scopes: SCOPES,
      clientCredentialsScopes: SCOPES,
      redirectUris: [],
      responseTypes: [],
      createdAt: new Date(),
      updatedAt: new Date(),
    };
    await adapter.create({ model: 'oauthClient', data });
  }
  return toNodeHandler(auth);
}, versionOf('@better-auth/oauth-provider'));
