"""Reads OCSF events from standard input; findings with the models of py-ocsf-models."""
import json, sys

from py_ocsf_models.events.findings.detection_finding import DetectionFinding

for line in sys.stdin:
    event = json.loads(line)
    if event["class_uid"] == 2004:
        # This version of the library does not know the observable types 11 to 19.
        assert event.pop("observables")[0]["type_id"] == 19
        finding = DetectionFinding.model_validate(event)
        print(json.dumps([finding.finding_info.uid, finding.severity_id.name, finding.activity_id.name]))
