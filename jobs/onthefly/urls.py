"""Where pictures made on the fly are asked for."""

from django.urls import path, re_path

from jobs.onthefly.views import FileView, PictureView, ResizeView

urlpatterns = [
    re_path(r"^img/", PictureView.as_view()),
    path("api/images/resize", ResizeView.as_view()),
    path("api/v1/resize", ResizeView.as_view()),
    path("api/images/files/<str:name>", FileView.as_view()),
]
