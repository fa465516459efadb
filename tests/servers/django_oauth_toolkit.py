"""django-oauth-toolkit, mounted at /o as its documentation does."""

import atexit
import shutil
import sys
import tempfile
import types

import django
import oauth2_provider
from django.conf import settings as django_settings
from django.core.management import call_command
from django.urls import include, path
from joserfc.jwk import RSAKey

from serving import LIFETIME, SCOPES, secret, serve


# A transaction that reads before it writes would else fail, where another writes meanwhile, without any waiting.
OPTIONS = {"timeout": 20, "transaction_mode": "IMMEDIATE"}


def application(_issuer):
    django_settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database(), "OPTIONS": OPTIONS}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        # The tables as they are in the end: made step by step they take ten times as long.
        MIGRATION_MODULES={name: None for name in ("auth", "contenttypes", "oauth2_provider")},
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        OAUTH2_PROVIDER={
            "SCOPES": {scope: scope for scope in SCOPES},
            "ACCESS_TOKEN_EXPIRE_SECONDS": LIFETIME,
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": RSAKey.generate_key().as_pem().decode(),
        },
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF="urls",
        SECRET_KEY="of a test",
        USE_TZ=True,
    )
    django.setup()
    urls = types.ModuleType("urls")
    urls.urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]
    sys.modules["urls"] = urls
    call_command("migrate", run_syncdb=True, verbosity=0)
    register()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def database():
    # In memory, a table that another request uses is an error and not waited for.
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return f"{folder}/database"


def register():
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    User.objects.create_user("bob", password="builder")
    for name, grant in [
        ("by-basic", Application.GRANT_CLIENT_CREDENTIALS),
        ("by-odd", Application.GRANT_CLIENT_CREDENTIALS),
        ("by-post", Application.GRANT_CLIENT_CREDENTIALS),
        ("for-bob", Application.GRANT_PASSWORD),
    ]:
        Application.objects.create(
            client_id=name,
            client_secret=secret(name),
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=grant,
        )


serve(application, oauth2_provider.__version__)
