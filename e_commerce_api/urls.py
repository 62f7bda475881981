"""Where everything is."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from authentication.verification import apis, suppression_apis
from e_commerce_api.health import healthz, readyz
from e_commerce_api.orders.apis import OrdersApi
from e_commerce_api.security import with_inline_styles
from e_commerce_api.shopfront import preview
from e_commerce_api.shopfront.views import account_page

handler404 = "e_commerce_api.errors.not_found"
handler500 = "e_commerce_api.errors.server_error"

urlpatterns = [
    path("", account_page, name="account"),
    path("_allauth/", include("allauth.headless.urls")),
    path("api/account/", apis.AccountApi.as_view(), name="account-api"),
    path("api/account/emails/", apis.AccountEmailsApi.as_view(), name="account-emails"),
    path("api/orders/", OrdersApi.as_view(), name="orders"),
    path("api/support/emails/find/", apis.FindEmailsApi.as_view(), name="support-find"),
    path("api/support/emails/<uuid:pk>/<str:action>/", apis.DecideEmailApi.as_view(), name="support-decide"),
    path("api/support/suppressions/find/", suppression_apis.FindSuppressionApi.as_view(), name="support-suppressions"),
    path("api/support/suppressions/lift/", suppression_apis.LiftSuppressionApi.as_view(), name="support-lift"),
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[], authentication_classes=[]), name="schema"),
    path(
        "api/docs/",
        with_inline_styles(SpectacularSwaggerSplitView.as_view(permission_classes=[], authentication_classes=[])),
        name="docs",
    ),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
if settings.DEBUG:
    urlpatterns += [
        path("mails/", preview.all_mails, name="mails"),
        path("mails/<str:name>/<str:language>/<str:part>/", preview.one_mail, name="mail"),
    ]
