"""The outbox in Django's admin: a list, one mail's life, and, behind "relays and dashboard", how things stand.

==========================  =========================================================================================
permission                  lets a member of staff
==========================  =========================================================================================
``view_outboxmessage``      see mails, with addresses masked
``view_outboxrelay``        see the dashboard
``view_address``            see addresses in full
``view_body``               read bodies; each reading is recorded in the admin's log
``operate``                 send again, cancel, resolve, pause, resume, wake workers, run the doctor; recorded as well
==========================  =========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from robust_email.outbox import selectors, storage
from robust_email.outbox.dashboard import listing, views
from robust_email.outbox.dashboard.deeds import DEEDS, offered
from robust_email.outbox.dashboard.reading import readable
from robust_email.outbox.database import database
from robust_email.outbox.models import OutboxMessage, OutboxRelay
from robust_email.outbox.services.operating import NotPossible
from robust_email.smtp.transcript import masked

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.contrib.admin.options import _ActionCallable
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern

    Admin = admin.ModelAdmin[Any]
else:
    Admin = admin.ModelAdmin

AT_ONCE = 1_000
"""Mails that one action changes at most; the rest is for the commands."""


def may(request: HttpRequest, permission: str) -> bool:
    """Tell whether the user has one of this app's permissions."""
    return request.user.has_perm(f"robust_email_outbox.{permission}")


class ReadOnlyAdmin(Admin):
    """Rows are made, changed and removed by the services alone."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401, ARG002 - Django's
        """Nobody edits."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401, ARG002 - Django's
        """Nobody deletes; ``outbox_purge`` does."""
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whom actions are for."""
        return may(request, "operate")

    def named(self, name: str, route: str, view: Callable[..., HttpResponse]) -> URLPattern:
        """Return a pattern of the admin's own, behind its log-in."""
        return path(route, self.admin_site.admin_view(view), name=f"robust_email_outbox_{name}")


def _action(name: str) -> _ActionCallable[Any, Any]:
    def act(model_admin: OutboxMessageAdmin, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        model_admin.act_on(request, list(queryset.defer("content")[: AT_ONCE + 1]), name)

    deed = DEEDS[name]
    act.__name__ = name.replace("-", "_")
    doubt = "" if "resolve" not in name else "In doubt: "
    return admin.action(permissions=["operate"], description=doubt + deed.label)(act)


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    """The mails, the newest first."""

    list_display = ("made", "to", "kind", "shown_state", "relay")
    list_display_links = ("made", "to")
    list_filter = (listing.StateFilter, listing.MadeFilter, listing.RelayFilter, listing.KindFilter)
    show_facets = admin.ShowFacets.NEVER  # each facet is a count
    list_per_page = list_max_show_all = 50
    show_full_result_count = False
    paginator = listing.ReachablePaginator
    sortable_by = ()
    search_fields = ("recipients__address",)  # replaced by get_search_results; without it there is no box
    search_help_text = "A recipient's whole address, a Message-ID, or a mail's key."
    actions = tuple(_action(name) for name in DEEDS)
    change_list_template = "robust_email_outbox/mails.html"

    class Media:
        """Colours of the states."""

        css: ClassVar = {"all": ["robust_email_outbox/outbox.css"]}

    def get_urls(self) -> list[Any]:
        """Add what is done to one mail."""
        return [
            self.named("act", "<uuid:pk>/act/", self.act_view),
            self.named("body", "<uuid:pk>/body/", self.body_view),
            *super().get_urls(),
        ]

    # -- the list

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutboxMessage]:
        """Leave bodies where they are."""
        return listing.with_first_recipients(super().get_queryset(request))

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Follow an index."""
        return listing.ordering_for(request)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's
        queryset: QuerySet[OutboxMessage],
        search_term: str,
    ) -> tuple[QuerySet[OutboxMessage], bool]:
        """Search by what an index knows."""
        return (listing.matching(queryset, search_term) if search_term.strip() else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list and the way to the dashboard."""
        shown = {"title": "Mails", "may_see_dashboard": may(request, "view_outboxrelay"), "reach": listing.REACH}
        return super().changelist_view(request, {**shown, **(extra_context or {})})

    @admin.display(description="made")
    def made(self, row: OutboxMessage) -> str:
        """Return when."""
        at = row.created_at
        return date_format(timezone.localtime(at) if timezone.is_aware(at) else at, "j M H:i:s")

    @admin.display(description="to")
    def to(self, row: OutboxMessage) -> str:
        """Return the first recipient, masked."""
        first = [masked(each.address) for each in row.recipients.all()]
        return " and more".join((first[0], "")) if len(first) > 1 else "".join(first)

    @admin.display(description="state")
    def shown_state(self, row: OutboxMessage) -> str:
        """Return the state in its colour, and why; addresses are masked in the row already."""
        pill = '<span class="outbox-state outbox-{}">{}</span> <span class="outbox-quiet">{}</span>'
        return format_html(pill, row.state, row.state, Truncator(row.reason).chars(36))

    # -- one mail

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one mail's life instead of a form."""
        row = self._row(request, object_id)
        full = may(request, "view_address")
        recipients = row.recipients.order_by("position")[: views.MOST_RECIPIENTS]
        context = {
            "row": row,
            "title": "One mail",
            "subtitle": row.message_id or str(row.pk),
            "timeline": selectors.timeline(row),
            "recipients": [(each, each.address if full else masked(each.address)) for each in recipients],
            "sender": row.reverse_path if full else masked(row.reverse_path),
            "deeds": offered(row.state) if self.has_operate_permission(request) else {},
            "may_read": may(request, "view_body"),
            "has_body": row.content is not None or bool(row.content_name),
        }
        return self._page(request, "mail", row, {**context, **(extra_context or {})})

    def _row(self, request: HttpRequest, pk: UUID | str) -> OutboxMessage:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row: OutboxMessage | None = self.get_object(request, str(pk))
        if row is None:
            raise Http404("There is no such mail; it may have been purged.")
        return row

    def _page(self, request: HttpRequest, name: str, row: OutboxMessage, context: dict[str, Any]) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "original": row, "media": self.media}
        return TemplateResponse(request, f"robust_email_outbox/{name}.html", {**shared, **context})

    @method_decorator(require_POST)
    def act_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Do one of ``DEEDS``."""
        row = self._row(request, pk)
        name = request.POST.get("deed", "")
        if not self.has_operate_permission(request) or name not in DEEDS:
            raise PermissionDenied
        self.act_on(request, [row], name)
        return HttpResponseRedirect(reverse("admin:robust_email_outbox_outboxmessage_change", args=[pk]))

    def act_on(self, request: HttpRequest, rows: list[OutboxMessage], name: str) -> None:
        """Do it to each mail whose state allows it, record it, and say what came of it."""
        deed, done = DEEDS[name], 0
        by = masked(request.user.get_username())
        for row in rows[:AT_ONCE]:
            try:
                changed = deed.do(row.pk, by)
            except (NotPossible, OutboxMessage.DoesNotExist) as exc:
                self.message_user(request, f"{row.message_id or row.pk}: {exc}", messages.WARNING)
            else:
                self.log_change(request, changed, deed.record)
                done += 1
        if done:
            self.message_user(request, f"{deed.record}: {done} mail{'s' if done > 1 else ''}.", messages.SUCCESS)
        if len(rows) > AT_ONCE:
            self.message_user(request, f"Only the first {AT_ONCE}; commands do more.", messages.WARNING)

    @method_decorator(require_POST)
    def body_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show or hand out the octets, and record who read them. A POST, so that no browser looks ahead."""
        row = self._row(request, pk)
        if not may(request, "view_body"):
            raise PermissionDenied
        try:
            content = storage.content_of(row)
        except storage.ContentMissing as exc:
            raise Http404(str(exc)) from exc
        download = "download" in request.POST
        self.log_change(request, row, "Downloaded the body" if download else "Read the body")
        if download:
            return HttpResponse(
                content,
                content_type="message/rfc822",
                headers={"Content-Disposition": f'attachment; filename="{row.pk}.eml"', "Cache-Control": "no-store"},
            )
        response = self._page(request, "body", row, {"row": row, "title": "Body", "mail": readable(content)})
        response["Cache-Control"] = "no-store"
        return response


@admin.register(OutboxRelay)
class OutboxRelayAdmin(ReadOnlyAdmin):
    """The dashboard stands where the list of relays would."""

    def get_urls(self) -> list[Any]:
        """Leave out the forms."""
        return [
            self.named("outboxrelay_changelist", "", self.changelist_view),
            self.named("relay", "relay/", self.relay_view),
            self.named("doctor", "doctor/", self.doctor_view),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show how things stand."""
        self._check(request, "view_outboxrelay")
        return views.dashboard(request, {**self._context(request), **(extra_context or {})})

    @method_decorator(require_POST)
    def relay_view(self, request: HttpRequest) -> HttpResponse:
        """Pause or resume a relay, or wake the workers."""
        self._check(request, "operate")
        name, deed = request.POST.get("relay", ""), request.POST.get("deed", "")
        relay = OutboxRelay.objects.using(database()).filter(pk=name).first() or OutboxRelay(name=name)
        done = views.act_on_relay(deed, name, masked(request.user.get_username()))
        if done is None:
            raise Http404("There is no such thing to do.")
        self.log_change(request, relay, done)
        self.message_user(request, done, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:robust_email_outbox_outboxrelay_changelist"))

    def doctor_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for which relay, and examine it on a POST."""
        self._check(request, "operate")
        return views.doctor(request, self._context(request))

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "may_operate": may(request, "operate"),
            "may_see_mails": may(request, "view_outboxmessage"),
        }

    @staticmethod
    def _check(request: HttpRequest, permission: str) -> None:
        if not may(request, permission):
            raise PermissionDenied
