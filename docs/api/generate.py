#!/usr/bin/env python3
"""Makes docs/api/index.md from schema/openapi.yaml.

usage: docs/api/generate.py [--check]      --check: writes nothing, exits 1 when the page is not what it would write
"""
import pathlib
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "schema" / "openapi.yaml"
PAGE = ROOT / "docs" / "api" / "index.md"
METHODS = ("get", "post", "put", "patch", "delete")


def resolve(api, node):
    """The node that a $ref names, with what stands beside the $ref; else the node itself."""
    while isinstance(node, dict) and "$ref" in node:
        target = api
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node


def one_line(text):
    return " ".join(str(text or "").split()).replace("|", "\\|")


def type_of(api, schema):
    """A schema in a few words: "string 3..30, `^[a-z0-9_]+$`"; a named object as a link."""
    if "$ref" in schema and resolve(api, schema).get("type") == "object":
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    schema = resolve(api, schema)
    if "anyOf" in schema:
        return " or ".join(type_of(api, s) for s in schema["anyOf"])
    kind = schema.get("type", "")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return f"array of {type_of(api, schema['items'])}"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    low = schema.get("minLength", schema.get("minimum"))
    high = schema.get("maxLength", schema.get("maximum"))
    if low is not None or high is not None:
        kind += f" {low if low is not None else ''}..{high if high is not None else ''}"
    if "pattern" in schema:
        kind += f", `{schema['pattern']}`"
    return kind.replace("|", "\\|")


def members(api, schema):
    lines = ["| member | type | | |", "|---|---|---|---|"]
    for name, member in schema.get("properties", {}).items():
        need = "" if name in schema.get("required", []) else "optional"
        lines.append(f"| `{name}` | {type_of(api, member)} | {need} | {one_line(resolve(api, member).get('description'))} |")
    return lines


def body_type(api, content):
    for media, value in (content or {}).items():
        schema = value["schema"]
        if media == "application/json":
            return type_of(api, schema)
        if media == "text/plain":
            return "text"
    return ""


def answer_lines(api, operation):
    good, bad = [], []
    for status, answer in operation["responses"].items():
        answer = resolve(api, answer)
        if status < "400":
            body = body_type(api, answer.get("content"))
            good.append(f"- **{status}** {body + ': ' if body else ''}{one_line(answer['description'])}")
            for name, header in answer.get("headers", {}).items():
                if not name.startswith("RateLimit"):
                    good.append(f"  - `{name}`: {one_line(resolve(api, header).get('description'))}")
        else:
            bad.append(status)
    return good + ([f"- errors: {', '.join(bad)}"] if bad else [])


def operation_lines(api, path, method, item):
    operation = item[method]
    lines = [f"### {method.upper()} {path}", "", operation["summary"]]
    if operation.get("description"):
        lines += ["", operation["description"].strip()]
    if operation.get("security") == []:
        lines += ["", "No token needed."]
    lines.append("")
    for parameter in item.get("parameters", []) + operation.get("parameters", []):
        p = resolve(api, parameter)
        lines.append(f"- {p['in']} `{p['name']}` ({type_of(api, p['schema'])}): {one_line(p['description'])}")
    body = operation.get("requestBody")
    if body:
        lines.append(f"- body: {body_type(api, body['content'])}")
    return lines + answer_lines(api, operation) + [""]


def error_lines(api):
    lines = ["## Errors", "", "`application/problem+json`, see [Problem](#problem).", "", "| status | code | when |", "|---|---|---|"]
    for answer in api["components"]["responses"].values():
        rule = answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
        codes = ", ".join(f"`{c}`" for c in rule["code"]["enum"])
        lines.append(f"| {rule['status']['const']} | {codes} | {one_line(answer['description'])} |")
    return lines + [""]


def page(api):
    lines = [f"# {api['info']['title']}", "", "Made by docs/api/generate.py from schema/openapi.yaml; change that file, not this one.", ""]
    lines += [api["info"]["description"].strip(), ""]
    for tag in api["tags"]:
        lines += [f"## {tag['name'].capitalize()}", "", tag["description"], ""]
        for path, item in api["paths"].items():
            for method in METHODS:
                if method in item and tag["name"] in item[method]["tags"]:
                    lines += operation_lines(api, path, method, item)
    lines += error_lines(api) + ["## Objects", ""]
    for name, schema in api["components"]["schemas"].items():
        if schema.get("type") == "object":
            lines += [f"### {name}", "", *([one_line(schema["description"]), ""] if "description" in schema else []), *members(api, schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    text = page(yaml.safe_load(CONTRACT.read_text()))
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit(f"{PAGE} is not what {CONTRACT} says: run docs/api/generate.py")
        return
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
