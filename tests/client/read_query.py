"""What readers of queries on Python, and others that are imitated here, take for one parameter.

Standard input: {"queries", "name"}. Prints for each query {reader: [the values that it finds under the name]}.
"""

import json
import re
import sys
from urllib.parse import parse_qsl, unquote, unquote_plus

from werkzeug.wrappers import Request
from yarl import URL


def urllib(query, separator="&"):
    return parse_qsl(query, keep_blank_values=True, separator=separator)


def parts(query, separators):
    """As readers do it that part by a set of bytes, and are content with names alone."""
    for part in re.split(separators, query):
        name, _, value = part.partition("=")
        yield unquote_plus(name, errors="replace"), unquote_plus(value, errors="replace")


def php(query, separators="&"):
    """`php_default_treat_data` and `php_register_variable_ex`."""
    for name, value in parts(query, separators):
        name = name.lstrip(" ").split("\0")[0]
        bracket = name.find("[", 1)
        if bracket > 0 and "]" in name[bracket:]:
            name = name[:bracket]
        yield re.sub(r"[ .\[]", "_", name), value


def without_case(pairs):
    return [(name.lower(), value) for name, value in pairs]


def arrays(pairs):
    """Rack and qs: `key[]` and `key[x]` are parts of `key`."""
    return [(re.sub(r"\[.*\]$", "", name), value) for name, value in pairs]


def read(query):
    werkzeug = Request({"QUERY_STRING": query, "REQUEST_METHOD": "GET"})
    return {
        "urllib": urllib(query),
        "urllib by semicolons": urllib(query, ";"),
        "werkzeug": list(werkzeug.args.items(multi=True)),
        "yarl": list(URL("http://service/?" + query, encoded=True).query.items()),
        "CGI, by both": list(parts(query, "[&;]")),
        "decoded twice": [(unquote(name), value) for name, value in parts(query, "[&;]")],
        "PHP": list(php(query)),
        "PHP, by both": list(php(query, "[&;]")),
        "ASP.NET": without_case(parts(query, "&")),
        "IIS": without_case((re.sub("%u00(..)", lambda it: chr(int(it[1], 16)), name), value) for name, value in parts(query, "&")),
        "Rack": arrays(parts(query, "[&;]")),
        "stripped": [(name.strip().lstrip("?"), value) for name, value in parts(query, "&")],
    }


def main():
    question = json.load(sys.stdin)
    named = lambda pairs: [value for name, value in pairs if name == question["name"]]
    found = [{reader: named(pairs) for reader, pairs in read(query).items()} for query in question["queries"]]
    json.dump(found, sys.stdout)


main()
