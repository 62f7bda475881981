"""The pages that the tests open."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from robust_email.outbox.health import outbox_health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/outbox/", outbox_health),
]
