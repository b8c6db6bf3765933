"""The admin's name, colours and menu, as unfold reads them from the settings."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

VIOLET = {
    "50": "#f3f2ff",
    "100": "#e9e7ff",
    "200": "#d6d2ff",
    "300": "#b8b0ff",
    "400": "#9585fb",
    "500": "#7660f3",
    "600": "#5b48e8",
    "700": "#4a38d1",
    "800": "#3e30ac",
    "900": "#352b88",
    "950": "#1f1a53",
}


def _icon(request: HttpRequest) -> str:
    return static("nijika/icon.svg")


def _entry(title: str, icon: str, name: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}")}


def _group(title: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "collapsible": False, "items": entries}


MENU = [
    {
        "title": "",
        "items": [
            _entry("System", "monitoring", "index"),
            _entry("Live", "pulse_alert", "live"),
        ],
    },
    _group(
        "People",
        _entry("Users", "group", "accounts_user_changelist"),
        _entry("API keys", "key", "accounts_apikey_changelist"),
    ),
    _group(
        "Credits",
        _entry("Wallets", "account_balance_wallet", "billing_wallet_changelist"),
        _entry("Ledger", "receipt_long", "billing_entry_changelist"),
        _entry("Prices", "sell", "billing_price_changelist"),
    ),
    _group(
        "Work",
        _entry("Jobs", "photo_library", "jobs_job_changelist"),
        _entry("Batches", "stacks", "jobs_batch_changelist"),
        _entry("Uploads", "upload_file", "jobs_upload_changelist"),
        _entry("Pictures on the fly", "bolt", "jobs_renditionuse_changelist"),
    ),
    _group(
        "Webhooks",
        _entry("Endpoints", "webhook", "jobs_webhookendpoint_changelist"),
        _entry("Deliveries", "outbox", "jobs_webhookdelivery_changelist"),
    ),
    _group(
        "Machinery",
        _entry("Workers", "dns", "jobs_worker_changelist"),
        _entry("Engines", "memory", "jobs_engine_changelist"),
        _entry("Kept reports", "report", "jobs_keptreport_changelist"),
    ),
    _group("Staff", _entry("Audit log", "history", "staff_action_changelist")),
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "nijika admin",
    "SITE_HEADER": "nijika",
    "SITE_SUBHEADER": "Admin",
    "SITE_URL": "/",
    "SITE_ICON": _icon,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {"primary": VIOLET},
    "STYLES": [lambda request: static("staff/staff.css")],
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": MENU,
    },
    "COMMAND": {"show_history": False},
}
