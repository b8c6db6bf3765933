from importlib.util import find_spec

from django.contrib import admin
from django.urls import include, path
from django.utils.module_loading import import_string

from nijika import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/health", health.health),
    path("health/ready", health.ready),
]
if find_spec("jobs.api.urls"):
    urlpatterns.append(path("api/v1/", include("jobs.api.urls")))
if find_spec("jobs.link_view"):
    link = import_string("jobs.link_view.link")
    urlpatterns.append(path("internal/link", link))

handler400 = "nijika.problems.handler400"
handler403 = "nijika.problems.handler403"
handler404 = "nijika.problems.handler404"
handler500 = "nijika.problems.handler500"
