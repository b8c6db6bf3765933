from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class StaffConfig(AppConfig):
    name = "nijika.staff"
    label = "staff"
    verbose_name = "Staff"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from nijika.staff import audit  # models must not be imported before they are

        user_logged_in.connect(audit.on_sign_in)


class StaffAdminConfig(AdminConfig):
    """Django's admin with our site in the place of its own."""

    default_site = "nijika.staff.site.StaffSite"
