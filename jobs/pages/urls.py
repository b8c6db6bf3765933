"""The pages of jobs, and what their scripts ask for."""

from django.urls import path, re_path

from jobs.pages import front, listing, overview, playground, previews, showing, webhooks

app_name = "pages"
PREVIEW = (
    r"^jobs/(?P<job_id>[^/]+)/(?P<part>input|0|[1-9][0-9]{0,3})/"
    r"(?P<size>thumb|preview)$"
)

urlpatterns = [
    path("", front.FrontPage.as_view(), name="front"),
    path("dashboard", overview.Overview.as_view(), name="overview"),
    path("playground", playground.Playground.as_view(), name="playground"),
    path("playground/uploads", playground.Uploads.as_view()),
    path("playground/estimate", playground.Estimate.as_view()),
    path("playground/jobs", playground.Run.as_view()),
    path("jobs", listing.JobsPage.as_view(), name="jobs"),
    path("jobs/<str:job_id>", showing.JobPage.as_view(), name="job"),
    path("jobs/<str:job_id>/events", showing.Events.as_view()),
    path("jobs/<str:job_id>/cancel", showing.Cancel.as_view(), name="cancel"),
    path("jobs/<str:job_id>/again", showing.RunAgain.as_view(), name="again"),
    path("jobs/<str:job_id>/erase", showing.Erase.as_view(), name="erase"),
    path("jobs/<str:job_id>/result/<int:index>", previews.ResultFile.as_view()),
    path("jobs/<str:job_id>/inputs/<int:index>", previews.InputFile.as_view()),
    re_path(PREVIEW, previews.Preview.as_view()),
    path("webhooks", webhooks.EndpointsPage.as_view(), name="webhooks"),
    path("webhooks/secret", webhooks.SecretPage.as_view(), name="webhook-secret"),
    path(
        "webhooks/deliveries/<str:delivery_id>",
        webhooks.DeliveryPage.as_view(),
        name="delivery",
    ),
    path("webhooks/deliveries/<str:delivery_id>/replay", webhooks.Replay.as_view()),
    path(
        "webhooks/<str:endpoint_id>", webhooks.EndpointPage.as_view(), name="endpoint"
    ),
    path("webhooks/<str:endpoint_id>/ping", webhooks.Ping.as_view()),
    path("webhooks/<str:endpoint_id>/rotate", webhooks.Rotate.as_view()),
    path("webhooks/<str:endpoint_id>/on", webhooks.SwitchOn.as_view()),
    path("webhooks/<str:endpoint_id>/off", webhooks.SwitchOff.as_view()),
    path("webhooks/<str:endpoint_id>/remove", webhooks.Remove.as_view()),
]
