"""Holds answers to schema/openapi.yaml: status documented, content type, body schema, documented headers that are required."""

import os
import re

import jsonschema
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Contract:
    def __init__(self):
        with open(os.path.join(ROOT, "schema", "openapi.yaml"), encoding="utf-8") as f:
            self.document = yaml.safe_load(f)
        self.resolver = jsonschema.RefResolver("", self.document)
        self.paths = []
        for template, operations in self.document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\{[^}]+\}", "[^/]+", template) + "$")
            self.paths.append((template.count("{"), template, pattern, operations))
        self.paths.sort(key=lambda p: p[0])
        self.seen = set()

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def operation(self, method, path):
        path = path.split("?")[0]
        for _, template, pattern, operations in self.paths:
            if pattern.match(path) and method.lower() in operations:
                return template, operations[method.lower()]
        return None, None

    def check(self, method, path, answer):
        template, operation = self.operation(method, path)
        if operation is None:
            return  # not of the contract: the caller judges
        responses = operation["responses"]
        status = str(answer.status_code)
        assert status in responses, f"{method} {template}: status {status} is not in the contract: {answer.text[:300]}"
        self.seen.add((method, template, status))
        response = self.resolve(responses[status])
        self.check_headers(method, template, response, answer)
        content = response.get("content")
        if not content:
            assert not answer.content, f"{method} {template} {status}: a body where the contract has none: {answer.text[:300]}"
            return
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        assert kind in content, f"{method} {template} {status}: content type {kind!r}, the contract has {list(content)}"
        if kind.endswith("json"):
            schema = content[kind].get("schema", {})
            jsonschema.Draft202012Validator(schema, resolver=self.resolver, format_checker=jsonschema.FormatChecker()).validate(answer.json())

    def check_headers(self, method, template, response, answer):
        for name, header in response.get("headers", {}).items():
            header = self.resolve(header)
            if header.get("required"):
                assert name in answer.headers, f"{method} {template} {answer.status_code}: header {name} is missing"
