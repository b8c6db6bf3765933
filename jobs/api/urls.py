"""Everything below /api/v1/. Paths have no trailing slash."""

from django.urls import path, register_converter

from jobs.api import docs, events, views, webhooks
from jobs.api.batches import (
    BatchCancelView,
    BatchesView,
    BatchJobsView,
    BatchResultsView,
    BatchView,
)
from jobs.api.keys import KeysView, KeyView, RotateKeyView
from jobs.api.uploads import SentView, UploadsView, UploadView


class Index:
    """The number of a result in its one spelling: no sign, no leading zero."""

    regex = "0|[1-9][0-9]{0,3}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(Index, "index")

urlpatterns = [
    path("jobs", views.JobsView.as_view()),
    path("jobs/<str:job_id>", views.JobView.as_view()),
    path("jobs/<str:job_id>/events", events.EventsView.as_view()),
    path("jobs/<str:job_id>/cancel", views.CancelView.as_view()),
    path("jobs/<str:job_id>/result", views.ResultView.as_view()),
    path("jobs/<str:job_id>/result/<index:index>", views.ResultView.as_view()),
    path("batches", BatchesView.as_view()),
    path("batches/<str:batch_id>", BatchView.as_view()),
    path("batches/<str:batch_id>/jobs", BatchJobsView.as_view()),
    path("batches/<str:batch_id>/cancel", BatchCancelView.as_view()),
    path("batches/<str:batch_id>/results", BatchResultsView.as_view()),
    path("uploads", UploadsView.as_view()),
    path("uploads/<str:upload_id>", UploadView.as_view()),
    path("webhook-endpoints", webhooks.EndpointsView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>", webhooks.EndpointView.as_view()),
    path(
        "webhook-endpoints/<str:endpoint_id>/secret",
        webhooks.EndpointSecretView.as_view(),
    ),
    path("webhook-endpoints/<str:endpoint_id>/rotate", webhooks.RotateView.as_view()),
    path("webhook-endpoints/<str:endpoint_id>/ping", webhooks.PingView.as_view()),
    path(
        "webhook-endpoints/<str:endpoint_id>/replay",
        webhooks.ReplayRangeView.as_view(),
    ),
    path("webhook-deliveries", webhooks.DeliveriesView.as_view()),
    path("webhook-deliveries/<str:delivery_id>", webhooks.DeliveryView.as_view()),
    path("webhook-deliveries/<str:delivery_id>/replay", webhooks.ReplayView.as_view()),
    path("webhook-secret", webhooks.AccountSecretView.as_view()),
    path("webhook-secret/rotate", webhooks.RotateAccountSecretView.as_view()),
    path("keys", KeysView.as_view()),
    path("keys/<str:key_id>", KeyView.as_view()),
    path("keys/<str:key_id>/rotate", RotateKeyView.as_view()),
    path("operations", views.OperationsView.as_view()),
    path("providers", views.ProvidersView.as_view()),
    path("account", views.AccountView.as_view()),
    path("ledger", views.LedgerView.as_view()),
    path("estimate", views.EstimateView.as_view()),
    path("schema", docs.SchemaView.as_view(), name="api-schema"),
    path("docs", docs.DocsView.as_view(), name="api-docs"),
]
file_urlpatterns = [path("<str:job_id>/<index:index>", views.FileView.as_view())]
upload_urlpatterns = [path("<str:upload_id>", SentView.as_view())]
