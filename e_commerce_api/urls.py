"""Where the service's endpoints are."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("api/", include("authentication.verification.urls")),
]
