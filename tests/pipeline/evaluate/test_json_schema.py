"""Facts about the schema of metrics.json: it accepts what is written, refuses what is not, and says what it means."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.findings import (
    Drift,
    EarlyClassification,
    EarlyPoint,
    FeatureDrift,
    Findings,
    Trust,
    json_schema,
)
from pipeline.evaluate.metrics import Estimate
from tests.pipeline.evaluate.examples import make_random

NAN = float("nan")


def make_findings() -> Findings:
    early = EarlyClassification((EarlyPoint("whole", NAN, 3, 0, {"accuracy": Estimate(0.5, NAN)}),), None, 3, 3)
    feature = FeatureDrift("best S/N", 0.1, 0.2, NAN, (0.0, 1.0), (1.0,), (1.0,), 1.0, NAN, 0.0, 0.0)
    drift = Drift(3, 3, (feature,), Estimate(0.5, NAN), {"Ia": 0.2}, {"Ia": NAN}, {})
    return Findings((evaluate(*make_random(60), name="x", n_resamples=5),), early, drift, Trust(NAN, NAN, (), (), 0))


def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema(), allow_nan=False))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("findings", [Findings(), make_findings()], ids=["empty", "full"])
def test_what_is_written_follows_the_schema(findings):
    written = json.loads(json.dumps(findings.to_dict(), allow_nan=False))
    assert [error.message for error in validator().iter_errors(written)] == []


def test_what_is_not_of_the_schema_is_refused():
    written = json.loads(json.dumps(make_findings().to_dict()))
    written["evaluations"][0]["counts"]["n_objects"] = "many"
    del written["evaluations"][0]["metrics"]["auc"]["std"]
    written["format_version"] = 1
    assert len(list(validator().iter_errors(written))) == 3


def test_every_type_and_documented_field_has_its_words():
    schema = json_schema()
    assert schema["$defs"]["Counts"]["properties"]["n_evaluated"]["description"] == "rows behind the metrics."
    operating = schema["$defs"]["OperatingPoint"]["properties"]["name"]["description"]
    assert operating.endswith('"best figure of merit".')  # over three lines of the docstring
    assert all(definition["description"] for definition in schema["$defs"].values())
