"""Envoy from the PyPI wheel, twice: with the token as a fixed header, and with its own OAuth 2.0 client in place."""

import json

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UNLIMITED = 1_000_000


class Envoy:
    def __init__(self, binary, oauth=False):
        self.binary, self.oauth = binary, oauth

    def configure(self, lab, task, port, service, tokens):
        clusters = [self.service(lab, task, number, service.port(task)) for number in range(task.services)]
        if self.oauth:
            clusters.append(cluster("tokens", tokens.port))
        config = lab.write(f"envoy-{port}.json", json.dumps({
            "static_resources": {
                "listeners": [self.listener(lab, task, port, service, tokens)],
                "clusters": clusters,
                "secrets": [{"name": "client", "generic_secret": {"secret": {"inline_string": "bench"}}}],
            },
        }))
        # A worker is a thread of `--concurrency`. Hot restart is a second process's business, with shared memory.
        return [self.binary, "--config-path", config, "--concurrency", str(task.workers), "--disable-hot-restart",
                "--log-level", "error"], {}

    def listener(self, lab, task, port, service, tokens):
        manager = extension("envoy.filters.network.http_connection_manager", "envoy.extensions.filters.network."
                            "http_connection_manager.v3.HttpConnectionManager", {
                                "stat_prefix": "apps",
                                # What a front proxy adds for others to read; no other peer does.
                                "generate_request_id": False,
                                "http_filters": [*self.injector(tokens), ROUTER],
                                "route_config": {"virtual_hosts": [{
                                    "name": "apps", "domains": ["*"],
                                    "routes": [self.route(lab, task, service, *one) for one in task.prefixes()],
                                }]},
                            })
        return {"name": "apps", "address": address(port), "tcp_backlog_size": 4096,
                "filter_chains": [{"filters": [manager]}]}

    def route(self, lab, task, service, prefix, number):
        route = {
            "match": {"prefix": f"{prefix}/"},
            "route": {
                "cluster": f"service{number}", "prefix_rewrite": "/v1/",
                "host_rewrite_literal": f"localhost:{service.port(task)}", "timeout": "60s",
            },
        }
        if not self.oauth:
            route["request_headers_to_add"] = [{"header": {"key": "authorization", "value": f"Bearer {lab.token}"},
                                                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
        return route

    def injector(self, tokens):
        if not self.oauth:
            return []
        credential = extension("envoy.http.injected_credentials.oauth2",
                               "envoy.extensions.http.injected_credentials.oauth2.v3.OAuth2", {
                                   "token_endpoint": {"uri": f"http://127.0.0.1:{tokens.port}/token",
                                                      "cluster": "tokens", "timeout": "5s"},
                                   "client_credentials": {"client_id": "bench", "client_secret": {"name": "client"}},
                               })
        return [extension("envoy.filters.http.credential_injector",
                          "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                          {"overwrite": True, "credential": credential})]

    def service(self, lab, task, number, port):
        protocol = "http2_protocol_options" if task.protocol == "2" else "http_protocol_options"
        options = {"explicit_http_config": {protocol: {}}}
        certificate = {"certificate_chain": {"filename": f"{lab.folder}/client.pem"},
                       "private_key": {"filename": f"{lab.folder}/client.key"}}
        return cluster(f"service{number}", port) | {
            # A cluster's own limits are 1,024 connections and as many requests; an edge raises them.
            "circuit_breakers": {"thresholds": [{"max_connections": task.pool, "max_pending_requests": UNLIMITED,
                                                 "max_requests": UNLIMITED}]},
            "typed_extension_protocol_options": {HTTP_OPTIONS: typed(HTTP_OPTIONS, options)},
            "transport_socket": extension("envoy.transport_sockets.tls",
                                          "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
                "sni": "localhost",
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
                                   "tls_maximum_protocol_version": "TLSv1_3"},
                    "tls_certificates": [certificate],
                    "alpn_protocols": ["h2" if task.protocol == "2" else "http/1.1"],
                    "validation_context": {
                        "trusted_ca": {"filename": f"{lab.folder}/ca.pem"},
                        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "localhost"}}],
                    },
                },
            }),
        }

    def version(self):
        return [self.binary, "--version"]


def cluster(name, port):
    endpoint = {"endpoint": {"address": address(port)}}
    return {"name": name, "type": "STATIC", "connect_timeout": "30s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def extension(name, message, settings):
    return {"name": name, "typed_config": typed(message, settings)}


def typed(message, settings):
    return {"@type": f"type.googleapis.com/{message}", **settings}


# Without the fields of timing that it adds to answers, since no other peer adds any.
ROUTER = extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router",
                   {"suppress_envoy_headers": True})
