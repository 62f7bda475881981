"""Where the endpoints of the verification are, below ``/api/``."""

from __future__ import annotations

from django.urls import path

from authentication.verification import apis

urlpatterns = [
    path("register/", apis.RegisterApi.as_view(), name="register"),
    path("verify/", apis.VerifyApi.as_view(), name="verify"),
    path("password-reset/", apis.PasswordResetApi.as_view(), name="password-reset"),
    path("password-reset/confirm/", apis.PasswordResetConfirmApi.as_view(), name="password-reset-confirm"),
]
