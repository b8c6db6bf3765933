from django.apps import AppConfig


class NijikaConfig(AppConfig):
    name = "nijika"
