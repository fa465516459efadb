"""canaille, with its database in memory."""

import json
from importlib.metadata import version
from urllib.parse import urlsplit

from canaille import create_app

from serving import SCOPES, secret, serve, settings


def application(issuer):
    app = create_app(
        {
            "SECRET_KEY": "of a test",
            "SERVER_NAME": urlsplit(issuer).netloc,
            "CANAILLE": {"DATABASE": "memory", "LOGGING": {"version": 1, "disable_existing_loggers": True}},
            "CANAILLE_OIDC": {},
        }
    )
    with app.app_context():
        register()
    return app


def register():
    from canaille.app import models
    from canaille.backends import Backend

    bob = models.User(user_name="bob", family_name="Liddell", formatted_name="Bob", emails=["bob@example.com"])
    Backend.instance.save(bob)
    Backend.instance.set_user_password(bob, "builder")
    for name, method, grants in [
        ("by-basic", "client_secret_basic", ["client_credentials"]),
        ("by-odd", "client_secret_basic", ["client_credentials"]),
        ("by-post", "client_secret_post", ["client_credentials"]),
        ("by-key", "private_key_jwt", ["client_credentials"]),
        ("for-bob", "client_secret_basic", ["password", "refresh_token"]),
    ]:
        client = models.Client(
            client_id=name,
            client_name=name,
            client_secret=secret(name),
            client_uri="https://localhost",
            jwks=json.dumps(settings["jwks"]) if method == "private_key_jwt" else None,
            grant_types=grants,
            scope=SCOPES,
            token_endpoint_auth_method=method,
        )
        client.audience = [client]
        Backend.instance.save(client)


serve(application, version("canaille"))
