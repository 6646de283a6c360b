"""Renders the chart in the first argument offline for one Kubernetes version after the other (the further arguments), with
values from standard input, checks every resource against the strict schemas of that version, and prints the resources of
the last version as JSON."""
import json, sys

import helm_python as helm
import kubernetes_validate
import yaml

chart, *versions = sys.argv[1:]
values = json.load(sys.stdin)
for version in versions:
    linted = helm.lint(chart, values=values, strict=True, kube_version=version)
    assert not linted.get("errors"), linted
    with helm.Chart.load(chart) as loaded:
        rendered = loaded.render(values | {"kubeVersionOverride": version}, name="test", namespace="keywitness")
    resources = [one for text in rendered.values() for one in yaml.safe_load_all(text) if one]
    for resource in resources:
        # Not of Kubernetes itself.
        if resource["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        kubernetes_validate.validate(resource, version, strict=True)
print(json.dumps(resources))
