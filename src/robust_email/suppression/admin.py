"""Suppressed addresses in Django's admin: who, why, until when, on what evidence; to add one, and to lift one.

=============================  ======================================================================================
permission                     lets a member of staff
=============================  ======================================================================================
``view_suppressedaddress``     see them, with addresses masked, and the evidence
``view_address``               see addresses in full
``add_suppressedaddress``      suppress an address
``delete_suppressedaddress``   lift a suppression; the evidence stays, and says so
=============================  ======================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.formats import date_format
from django.utils.html import format_html_join

from robust_email.smtp import InvalidAddress
from robust_email.smtp.transcript import masked
from robust_email.suppression import selectors, services
from robust_email.suppression.addresses import canonical, digest_of
from robust_email.suppression.models import Effect, Source, SuppressedAddress

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

    Admin = admin.ModelAdmin[SuppressedAddress]
    Form = forms.ModelForm[SuppressedAddress]
else:
    Admin = admin.ModelAdmin
    Form = forms.ModelForm


class SuppressForm(Form):
    """What a person says."""

    remark = forms.CharField(max_length=200, required=False, help_text="Why; kept with the evidence.")

    class Meta:
        """The rest is the service's."""

        model = SuppressedAddress
        fields = ("address", "expires_at")

    def clean_address(self) -> str:
        """Refuse what is no address, or is there already."""
        try:
            address = canonical(self.cleaned_data["address"])
        except InvalidAddress as exc:
            raise ValidationError(str(exc)) from exc
        if selectors.is_suppressed(address):
            raise ValidationError("This address is suppressed already.")
        return address


@admin.register(SuppressedAddress)
class SuppressedAddressAdmin(Admin):
    """The newest first."""

    form = SuppressForm
    list_display = ("shown_address", "reason", "source", "status", "created_at", "expires_at")
    list_filter = ("reason", "source")
    show_facets = admin.ShowFacets.NEVER  # each facet is a count
    list_per_page = list_max_show_all = 50
    show_full_result_count = False
    ordering = ("-created_at",)
    search_fields = ("address",)  # replaced by get_search_results; without it there is no box
    search_help_text = "A whole address."

    def has_change_permission(self, request: HttpRequest, obj: SuppressedAddress | None = None) -> bool:  # noqa: ARG002 - Django's signature
        """Nobody edits: one suppresses, or lifts."""
        return False

    def get_list_display(self, request: HttpRequest) -> Any:  # noqa: ANN401 - Django's
        """Mask addresses, unless this person may see them."""
        return (_address_column(request), *self.list_display[1:])

    def get_fields(self, request: HttpRequest, obj: SuppressedAddress | None = None) -> Any:  # noqa: ANN401 - Django's
        """Show what is known, or ask for what a person says."""
        known = (_address_column(request), *self.list_display[1:], "evidence")
        return known if obj is not None else ("address", "expires_at", "remark")

    def get_readonly_fields(self, request: HttpRequest, obj: SuppressedAddress | None = None) -> Any:  # noqa: ANN401 - Django's
        """Return all of one that is there."""
        return self.get_fields(request, obj) if obj is not None else ()

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        queryset: QuerySet[SuppressedAddress],
        search_term: str,
    ) -> tuple[QuerySet[SuppressedAddress], bool]:
        """Find a whole address by its digest: nobody finds out addresses letter by letter."""
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(digest=digest_of(search_term.strip())), False
        except InvalidAddress:
            return queryset.none(), False

    @admin.display(description="address")
    def shown_address(self, row: SuppressedAddress) -> str:
        """Mask it."""
        return masked(row.address) or f"forgotten ({row.digest[:12]})"

    @admin.display(description="evidence")
    def evidence(self, row: SuppressedAddress) -> SafeString:
        """List all that was said, oldest first."""
        lines = (
            (
                date_format(each.noted_at, "Y-m-d H:i:s"),
                Source(each.source).label,
                each.status,
                Effect(each.effect).label,
                each.detail,
            )
            for each in selectors.evidence_about(row.digest)[:100]
        )
        return format_html_join("", "<div>{}: {} {} {} ({})</div>", lines)

    def save_model(self, request: HttpRequest, obj: SuppressedAddress, form: Any, change: bool) -> None:  # noqa: ANN401, ARG002, FBT001 - Django's
        """Suppress, with whose decision it was."""
        remark = f"by {request.user.pk}: {form.cleaned_data['remark']}"
        made = services.suppress(obj.address, expires_at=obj.expires_at, remark=remark)
        obj.pk, obj.digest = made.pk, made.digest

    def delete_model(self, request: HttpRequest, obj: SuppressedAddress) -> None:
        """Lift."""
        services.lift(obj, remark=f"by {request.user.pk}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[SuppressedAddress]) -> None:
        """Lift each."""
        for row in queryset:
            services.lift(row, remark=f"by {request.user.pk}")


def _address_column(request: HttpRequest) -> str:
    return "address" if request.user.has_perm("robust_email_suppression.view_address") else "shown_address"
