"""Sidekey itself: with a token from the config, with one from a token endpoint, and as it is shipped (PGO).

Its pool is that of the defaults, under every load: users have no other, and peers are told how large theirs must be.
"""


class Sidekey:
    def __init__(self, binary, oauth=False):
        self.binary, self.oauth = binary, oauth

    def configure(self, lab, task, port, service, tokens):
        secret = lab.write("token", lab.token)
        secret.chmod(0o600)
        auth = "{ type: bearer, token: { file: token } }"
        if self.oauth:
            auth = (f"{{ type: oauth2_client_credentials, token_url: 'http://127.0.0.1:{tokens.port}/token', "
                    "client_id: bench, client_secret: bench }")
        services = "".join(f"""
  {name}:
    url: https://localhost:{service.port(task)}/v1
    certificate: client
    http_version: "{task.protocol}"
    tls: {{ ca: ca.pem }}
    auth: {auth}
""" for name in names(task))
        routes = "" if task.routes == 1 else "routes:" + "".join(
            f"\n  - {{ path: {prefix}, service: service{number} }}" for prefix, number in task.prefixes())
        config = lab.write(f"sidekey-{port}.yaml", f"""
listen: 127.0.0.1:{port}
admin: off
workers: {task.workers}
log: {{ level: warn, access: off }}
certificates:
  client: {{ chain: client.pem, key: client.key }}
services:{services}
{routes}
""")
        return [self.binary, "run", "--config", config], {}

    def version(self):
        return [self.binary, "--version"]


def names(task):
    """A lone service is reached by its default route."""
    return ["payments"] if task.routes == 1 else [f"service{number}" for number in range(task.services)]
