from django.apps import AppConfig
from django.db.models.signals import post_migrate

from jobs.database.statistics import after_migrate


class JobsConfig(AppConfig):
    name = "jobs"

    def ready(self) -> None:
        post_migrate.connect(after_migrate, sender=self)
