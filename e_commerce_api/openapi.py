"""A correction to the OpenAPI document: where an error is in a list, its place has a number."""

from __future__ import annotations

import re
from typing import Any, Final

from rest_framework import serializers

PLACEHOLDER: Final = "INDEX"
"""What drf-standardized-errors writes for a number."""


class ConflictDetail(serializers.Serializer[Any]):
    """What is in the way."""

    code = serializers.CharField()
    detail = serializers.CharField()
    attr = serializers.CharField(allow_null=True)


class Conflict(serializers.Serializer[Any]):
    """The body of a 409."""

    type = serializers.CharField()
    errors = ConflictDetail(many=True)  # type: ignore[assignment] # the field is named as the library names it


def number_list_places(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Say ``lines.<number>.product`` by a pattern, where an enumeration says ``lines.INDEX.product``."""
    for schema in result.get("components", {}).get("schemas", {}).values():
        attr = schema.get("properties", {}).get("attr", {})
        names = attr.get("enum") or []
        if any(PLACEHOLDER in name for name in names):
            patterns = [re.escape(name).replace(PLACEHOLDER, "[0-9]+") for name in names]
            schema["properties"]["attr"] = {"type": "string", "pattern": f"^({'|'.join(patterns)})$"}
    return result
