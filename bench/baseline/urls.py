from django.urls import path

from bench.baseline.views import JobDetail, JobList

urlpatterns = [
    path("api/v1/jobs", JobList.as_view()),
    path("api/v1/jobs/<uuid:pk>", JobDetail.as_view()),
]
