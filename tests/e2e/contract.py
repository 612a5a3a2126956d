"""api/openapi.yaml as a judge: every answer that a test sees is held against it.

conftest.py has every answer of `requests` brought here, whoever asked; a test that speaks raw HTTP brings its own. What is wrong is
kept, and fails the test at its end, also when it was seen in a thread that swallowed it.
"""
import functools
import json
import re
import urllib.parse

import jsonschema
import yaml

import house

PATH = house.ROOT / "api/openapi.yaml"
# What services offer to the gateway itself, which lets it through to nobody.
BETWEEN_US = {("POST", "/api/v1/admin/audit-log")}
METHODS = ("get", "post", "put", "patch", "delete")
_complaints = []
seen = set()  # (operationId, status) of every answer


@functools.lru_cache(maxsize=None)
def document():
    """The contract with every $ref replaced by what it names; nothing in it refers to itself."""
    with open(PATH, encoding="utf-8") as f:
        raw = yaml.load(f, getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    @functools.lru_cache(maxsize=None)
    def named(pointer):
        at = raw
        for part in pointer[2:].split("/"):
            at = at[part.replace("~1", "/").replace("~0", "~")]
        return resolve(at)

    def resolve(node):
        if isinstance(node, list):
            return [resolve(n) for n in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            return named(node["$ref"])
        return {key: resolve(value) for key, value in node.items()}

    return resolve(raw)


@functools.lru_cache(maxsize=None)
def operations():
    """{(method, path template): operation}"""
    return {(method.upper(), path): item[method]
            for path, item in document()["paths"].items() for method in METHODS if method in item}


def who_may(operation):
    """"anyone", "signed-in", "user" or "admin", as --routes says it."""
    if not operation["security"]:
        return "anyone"
    roles = operation["security"][0]["bearer"]
    return {"ADMIN": "admin", "NEWCOMER": "signed-in"}[roles[0]] if roles else "user"


@functools.lru_cache(maxsize=None)
def _templates():
    """Paths as patterns, literals before parameters, as the servers choose them."""
    paths = sorted(document()["paths"], key=lambda p: [(part.startswith("{"), part) for part in p.split("/")])
    return [(re.compile("/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/"))), path)
            for path in paths]


def operation_of(method, path):
    template = next((t for pattern, t in _templates() if pattern.fullmatch(path)), None)
    return operations().get(("GET" if method == "HEAD" else method, template))


_validators = {}


def _wrong(schema, value):
    """What the schema says against the value; validators are kept, for they are dear to make."""
    validator = _validators.get(id(schema))
    if validator is None:
        validator = _validators[id(schema)] = jsonschema.Draft202012Validator(schema)
    return [f"{'/'.join(map(str, e.absolute_path)) or 'it'}: {e.message[:200]}" for e in validator.iter_errors(value)]


def _wrong_headers(spec, headers):
    for name, header in spec.get("headers", {}).items():
        value = headers.get(name)
        if value is None:
            if header.get("required"):
                yield f"the header {name} is missing"
        else:
            yield from (f"the header {name}: {why}" for why in _wrong(header["schema"], value))


def _wrong_body(spec, content_type, body):
    content = spec.get("content")
    if not content:
        if body or content_type:
            yield f"it has a body, of type {content_type}"
    elif content_type not in content:
        yield f"its type is {content_type}, and not one of {list(content)}"
    elif "json" not in content_type:
        yield from _wrong(content[content_type]["schema"], body.decode())
    else:
        yield from _wrong(content[content_type]["schema"], json.loads(body))


def complaints(method, target, status, headers, body):
    """What is wrong with an answer: a list of sentences, empty when it keeps the contract."""
    operation = operation_of(method, urllib.parse.urlsplit(target).path)
    responses = operation["responses"] if operation else document()["x-outside"]
    spec = responses.get(str(status))
    if spec is None:
        return [f"the status {status} is not in the contract"]
    if operation:
        seen.add((operation["operationId"], status))
    wrong = list(_wrong_headers(spec, headers))
    if method != "HEAD":
        wrong += _wrong_body(spec, headers.get("Content-Type"), body)
    return wrong


def check(method, target, status, headers, body):
    for wrong in complaints(method, target, status, headers, body):
        _complaints.append(f"{method} {target} -> {status}: {wrong}")


def _is_ours(port):
    return port == urllib.parse.urlsplit(house.GATEWAY).port or port in {house.PORT_BASE + house.PORTS[p] for p in house.PROCESSES}


def check_answer(answer):
    """An answer of `requests`. A service that is asked past the gateway has only its own routes: the others are not there."""
    url = urllib.parse.urlsplit(answer.request.url)
    if not _is_ours(url.port):
        return
    at_gateway = url.port == urllib.parse.urlsplit(house.GATEWAY).port
    if not at_gateway and (answer.request.method, url.path) in BETWEEN_US:
        return
    if not at_gateway and answer.status_code in (404, 405) and \
            not complaints("GET", "/is-not-there", answer.status_code, answer.headers, answer.content):
        return
    check(answer.request.method, answer.request.path_url, answer.status_code, answer.headers, answer.content)


def take_complaints():
    """What was found since the last time, each once."""
    found = sorted(set(_complaints))
    _complaints.clear()
    return found
