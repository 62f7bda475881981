"""Our endpoints hold what the OpenAPI document says, and answer nothing with 5xx (V36): schemathesis asks them.

allauth's own document is published beside ours and not held to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings

from e_commerce_api.wsgi import application

if TYPE_CHECKING:
    from authentication.core.models import User
    from tests.service.customers import Device

schemathesis = pytest.importorskip("schemathesis", reason="it is not installed")

checks = schemathesis.checks
checks.load_all_checks()

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
PATHS = [
    ("GET", "/api/account/emails/"),
    ("POST", "/api/account/"),
    ("GET", "/api/orders/"),
    ("POST", "/api/orders/"),
    ("POST", "/api/support/emails/find/"),
    ("POST", "/api/support/emails/{id}/{action}/"),
    ("POST", "/api/support/suppressions/find/"),
    ("POST", "/api/support/suppressions/lift/"),
]


@pytest.fixture
def token(customer: User, device: Device) -> str:
    """Give the session of a customer who is staff too, so that no endpoint is closed to him."""
    customer.is_staff = True
    customer.save()
    assert device.log_in().status_code == 200
    return device.token


@pytest.fixture
def document(db: None) -> Any:  # noqa: ANN401 - schemathesis' own
    """Give the document as the service publishes it."""
    found = Client().get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert found.status_code == 200
    return schemathesis.openapi.from_dict(found.json())


def test_every_endpoint_of_ours_is_tried(document: Any) -> None:  # noqa: ANN401 - as above
    """The list is the document's."""
    found = {(operation.ok().method.upper(), operation.ok().path) for operation in document.get_all_operations()}
    assert found == set(PATHS)


def test_a_line_that_is_null_is_in_the_document(document: Any, token: str) -> None:  # noqa: ANN401 - as above
    """DRF says so of the line's place, which the library that writes the document does not know of by itself."""
    headers = {"X-Session-Token": token}
    answer = Client().post("/api/orders/", {"lines": [None]}, content_type="application/json", headers=headers)
    assert ("lines.0", "null") in [(error["attr"], error["code"]) for error in answer.json()["errors"]]
    fields = [schema.get("properties", {}) for schema in document.raw_schema["components"]["schemas"].values()]
    patterns = [each["attr"].get("pattern") for each in fields if "null" in each.get("code", {}).get("enum", ())]
    assert any(re.fullmatch(pattern, "lines.0") for pattern in patterns if pattern)


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_an_endpoint_is_as_its_document_says(
    document: Any,  # noqa: ANN401 - as above
    token: str,
    method: str,
    path: str,
    mode: Any,  # noqa: ANN401 - as above
) -> None:
    """Whatever is sent, valid or not: a documented status and body, and never a 5xx."""
    operation = document[path][method]
    operation.app = document.app = application

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(mode))
    def ask(case: Any) -> None:  # noqa: ANN401 - as above
        for headers in ({"X-Session-Token": token}, {}):
            case.validate_response(case.call(headers=headers), checks=CHECKS)

    ask()
