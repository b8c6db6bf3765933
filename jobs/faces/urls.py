"""The old systems' paths. They have no trailing slash, and neither have ours."""

from django.urls import include, path

from jobs.faces import (
    comparing,
    editing,
    generation,
    masks,
    singles,
    streams,
    utilities,
)

remove_background = singles.RemoveBackgroundView.as_view()
upscale = singles.UpscaleView.as_view()
cancel = generation.CancelView.as_view()
mask = masks.SmartMaskView.as_view()
inpaint = utilities.InpaintView.as_view()

utility_urlpatterns = [
    path("extract-object", utilities.ExtractObjectView.as_view()),
    path("add-shadow-preview", utilities.ShadowPreviewView.as_view()),
    path("mae", inpaint),
    path("inpaint", inpaint),
    path("canny", utilities.CannyView.as_view()),
    path("resize", utilities.ResizeView.as_view()),
    path("crop", utilities.CropView.as_view()),
    path("encode", utilities.EncodeView.as_view()),
]
urlpatterns = [
    path("removebg", remove_background),
    path("upscale", upscale),
    path("api/removebg", remove_background),
    path("api/upscale", upscale),
    path("api/edit", editing.EditView.as_view()),
    path("api/providers", editing.ProvidersView.as_view()),
    path("api/generate", generation.GenerateView.as_view()),
    path("api/generate/async", generation.GenerateLaterView.as_view()),
    path("api/generate/status/<str:task_id>", generation.TaskStatusView.as_view()),
    path("api/generate/result/<str:task_id>", generation.TaskResultView.as_view()),
    path("api/generate/result-image/<str:task_id>", generation.TaskImageView.as_view()),
    path("api/generate/multi-steps", comparing.MultiStepsView.as_view()),
    path("api/generate/stream", streams.GenerateStreamView.as_view()),
    path("api/generate/stream/<str:task_id>", streams.TaskStreamView.as_view()),
    path("api/generate/async/cancel/<str:task_id>", cancel),
    path("api/generate/cancel/<str:task_id>", cancel),
    path("api/smart-mask", mask),
    path("api/smart-mask/detect", masks.DetectView.as_view()),
    path("api/smart-mask/cancel/<str:task_id>", masks.CancelView.as_view()),
    path("api/white-balance", utilities.WhiteBalanceView.as_view()),
    path("api/image-utils/", include(utility_urlpatterns)),
]
