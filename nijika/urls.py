from django.contrib import admin
from django.urls import include, path

from accounts.pages.urls import provider_urlpatterns
from jobs.api.urls import file_urlpatterns, upload_urlpatterns
from nijika import health, metrics

# The busiest first: Django tries them one by one. Pages come last, for people are slow.
urlpatterns = [
    path("api/v1/", include("jobs.api.urls")),
    path("", include("jobs.onthefly.urls")),
    path("files/", include(file_urlpatterns)),
    path("uploads/", include(upload_urlpatterns)),
    path("api/health", health.health),
    path("api/v1/health", health.health),
    path("api/system/health", health.system),
    path("health", health.ok),
    path("health/ready", health.ready),
    path("metrics", metrics.metrics),
    path("", include("jobs.faces.urls")),
    path("admin/", admin.site.urls),
    path("", include(provider_urlpatterns)),
    path("", include("accounts.pages.urls")),
    path("", include("jobs.pages.urls")),
    path("", include("billing.pages.urls")),
]

handler400 = "nijika.problems.handler400"
handler403 = "nijika.problems.handler403"
handler404 = "nijika.problems.handler404"
handler500 = "nijika.problems.handler500"
