"""Authlib's authorization server for Flask, as its documentation builds it, without a database."""

from types import SimpleNamespace

import authlib
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from flask import Flask, jsonify

from serving import LIFETIME, SCOPES, secret, serve, settings


class Client(ClientMixin):
    def __init__(self, client_id, method, *grant_types):
        self.client_id, self.method, self.grant_types = client_id, method, grant_types

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return " ".join(one for one in (scope or "").split() if one in SCOPES)

    def check_client_secret(self, client_secret):
        return client_secret == secret(self.client_id)

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self.method

    def check_grant_type(self, grant_type):
        return grant_type in self.grant_types


class Token(SimpleNamespace, TokenMixin):
    pass


CLIENTS = {
    client.client_id: client
    for client in [
        Client("by-basic", "client_secret_basic", "client_credentials"),
        Client("by-odd", "client_secret_basic", "client_credentials"),
        Client("by-post", "client_secret_post", "client_credentials"),
        Client("by-key", "private_key_jwt", "client_credentials"),
        Client("for-bob", "client_secret_basic", "password", "refresh_token"),
    ]
}
METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
tokens = {}


class ByKey(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = "private_key_jwt"

    def __init__(self, endpoint):
        super().__init__()
        self.endpoint = endpoint

    def get_audiences(self):
        return [self.endpoint]

    def validate_jti(self, claims, jti):
        return True

    def resolve_client_public_key(self, client):
        return settings["jwks"]


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS


class Password(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_user(self, username, password):
        return username if (username, password) == ("bob", "builder") else None


class Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token):
        return tokens.get(refresh_token)

    def authenticate_user(self, refresh_token):
        return refresh_token.user

    def revoke_old_credential(self, refresh_token):
        tokens.pop(refresh_token.refresh_token)


def save(token, request):
    if "refresh_token" in token:
        kept = Token(user=request.user, client=request.client, **token)
        kept.get_scope = lambda: token.get("scope", "")
        kept.check_client = lambda client: client.client_id == request.client.client_id
        tokens[token["refresh_token"]] = kept


def application(issuer):
    app = Flask(__name__)
    app.config.update(
        OAUTH2_SCOPES_SUPPORTED=SCOPES,
        OAUTH2_REFRESH_TOKEN_GENERATOR=True,
        OAUTH2_TOKEN_EXPIRES_IN={name: LIFETIME for name in ("client_credentials", "password", "refresh_token")},
    )
    server = AuthorizationServer(app, query_client=CLIENTS.get, save_token=save)
    for grant in (ClientCredentials, Password, Refresh):
        server.register_grant(grant)
    server.register_client_auth_method(ByKey.CLIENT_AUTH_METHOD, ByKey(f"{issuer}/oauth/token"))

    @app.post("/oauth/token")
    def token():
        return server.create_token_response()

    @app.get("/.well-known/oauth-authorization-server")
    def metadata():
        return jsonify(
            AuthorizationServerMetadata(
                issuer=issuer,
                token_endpoint=f"{issuer}/oauth/token",
                token_endpoint_auth_methods_supported=METHODS,
                scopes_supported=SCOPES,
            )
        )

    return app


serve(application, authlib.__version__)
