"""A strict reader of the Prometheus text format, version 0.0.4: anything out of the ordinary is an error."""

import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
KINDS = ("counter", "gauge", "histogram", "summary", "untyped")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def labels_of(text):
    labels, at = {}, 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, f"labels {text!r} go wrong at {text[at:]!r}"
        assert found[1] not in labels, f"label {found[1]} twice in {text!r}"
        labels[found[1]] = found[2]
        at = found.end()
        if at < len(text):
            assert text[at] == ",", f"labels {text!r} go wrong at {text[at:]!r}"
            at += 1
    return labels


def sample_of(line):
    name = NAME.match(line)
    assert name, f"no metric name: {line!r}"
    rest, labels = line[name.end():], {}
    if rest.startswith("{"):
        end = rest.rindex("}")
        labels, rest = labels_of(rest[1:end]), rest[end + 1:]
    assert re.fullmatch(r" (-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|[+-]Inf|NaN)", rest), f"no value: {line!r}"
    return name[0], labels, float(rest)


def check_histogram(name, samples):
    series = {}
    for sample, labels, value in samples:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        series.setdefault(key, {}).setdefault(sample[len(name):], []).append((labels.get("le"), value))
    for key, parts in series.items():
        buckets = parts["_bucket"]
        bounds = [float(le) for le, _ in buckets]
        counts = [value for _, value in buckets]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), f"{name}{key}: bounds {bounds}"
        assert counts == sorted(counts), f"{name}{key}: buckets are not cumulative"
        assert len(parts["_count"]) == len(parts["_sum"]) == 1, f"{name}{key}: one _count and one _sum"
        assert parts["_count"][0][1] == counts[-1], f"{name}{key}: _count is not the last bucket"


def parse(text):
    """{family: (kind, [(sample name, labels, value)])}"""
    assert text.endswith("\n"), "the last line has no end"
    families, helped, current = {}, set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            assert NAME.fullmatch(name) and words, f"HELP without name or words: {line!r}"
            assert name not in helped, f"HELP of {name} twice"
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            assert kind in KINDS, f"TYPE: {line!r}"
            assert name not in families, f"family {name} stands in two places"
            assert name in helped, f"family {name} has no HELP before its TYPE"
            families[name] = (kind, [])
            current = name
        else:
            name, labels, value = sample_of(line)
            assert current, f"a sample before any TYPE: {line!r}"
            kind, samples = families[current]
            allowed = [current + suffix for suffix in SUFFIXES.get(kind, ("",))]
            assert name in allowed, f"sample {name} among those of {current}"
            assert not any(name == n and labels == l for n, l, _ in samples), f"sample twice: {line!r}"
            if kind == "counter":
                assert value >= 0 and name.endswith("_total"), f"counter {line!r}"
            samples.append((name, labels, value))
    for name, (kind, samples) in families.items():
        if kind == "histogram" and samples:
            check_histogram(name, samples)
    return families
