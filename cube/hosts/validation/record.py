"""What is kept of a validation: JSON and JUnit for programs, one HTML page for people."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from cube import __version__
from cube.hosts.validation import page
from cube.hosts.validation.catalog import named
from cube.hosts.validation.result import Finding, SuiteResult
from cube.hosts.validation.validation import Validation
from cube.runtime.atomic import write_whole
from cube.runtime.redact import masked, masked_data
from cube.seal.manifest import plain_object, timestamp

SCHEMA_ID = "urn:vault-cube:validation:1"


def write(folder: Path, found: Validation) -> dict[str, Path]:
    """Write all forms of a validation.

    Returns:
        Their files: ``json``, ``junit``, ``html``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "json": folder / "validation.json",
        "junit": folder / "junit.xml",
        "html": folder / "validation.html",
    }
    data = masked_data(as_data(found))
    write_whole(files["json"], to_text(data))
    write_whole(files["junit"], masked(junit(found)))
    write_whole(files["html"], page.render(data))
    return files


def to_text(data: dict[str, Any]) -> str:
    """Return data as the text of a JSON file."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def as_data(found: Validation) -> dict[str, Any]:
    """Return a validation as JSON-like data."""
    return plain_object(
        {
            "schema": SCHEMA_ID,
            "box": found.box,
            "began": timestamp(found.began),
            "written": timestamp(datetime.now(UTC)),
            "cube": __version__,
            "quick": found.quick,
            "verdict": found.verdict,
            "evidence": found.evidence,
            "seconds": found.seconds,
            "suites": [
                {"title": named(one.suite).title, "summary": one.summary, **asdict(one)}
                for one in found.results
            ],
        }
    )


def junit(found: Validation) -> str:
    """Return a validation as JUnit XML: a test suite each, a test case a check."""
    xml = JUnitXml(f"cube validate {found.box}")
    for one in found.results:
        xml.add_testsuite(junit_suite(one))
    xml.update_statistics()  # type: ignore[no-untyped-call]
    text: str = xml.tostring().decode()  # type: ignore[no-untyped-call]
    return text


def junit_suite(one: SuiteResult) -> TestSuite:
    """Return one suite; one that came to no check has a case of its own that says why."""
    suite = TestSuite(one.suite)
    suite.add_property("evidence", one.evidence)
    suite.time = one.seconds
    for finding in one.findings:
        suite.add_testcase(junit_case(one.suite, finding))
    if one.outcome in {"error", "not_run"}:
        case = TestCase(named(one.suite).title, classname=one.suite)
        case.result = [Error(one.reason) if one.outcome == "error" else Skipped(one.reason)]
        suite.add_testcase(case)
    return suite


def junit_case(suite: str, finding: Finding) -> TestCase:
    """Return one check."""
    case = TestCase(finding.name, classname=suite)
    if finding.status == "FAIL":
        case.result = [Failure(finding.detail)]
    elif finding.status == "SKIP":
        case.result = [Skipped(finding.detail)]
    return case
