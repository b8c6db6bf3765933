"""A price for every operation; what the owner has set stays as it is."""

from django.db import migrations

PRICES = {
    "removebg": "0.01",
    "upscale": "0.02",
    "smart-mask": "0.005",
    "generate": "0.05",
    "edit": "0.05",
    "resize": "0.001",
    "crop": "0.001",
    "encode": "0.001",
    "extract": "0.001",
    "inpaint": "0.001",
    "canny": "0.001",
    "shadow": "0.001",
    "white-balance": "0.001",
    "compose": "0.001",
}
# What resize cost by default until now.
CHANGE = """
UPDATE billing_price SET credits = 0.001, updated_at = now()
WHERE operation = 'resize' AND engine = '' AND credits = 0.01
"""
INSERT = """
INSERT INTO billing_price (operation, engine, credits, updated_at)
VALUES (%s, '', %s, now()) ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_entries_are_immutable")]
    operations = [
        migrations.RunSQL(CHANGE, migrations.RunSQL.noop),
        migrations.RunSQL(
            [(INSERT, list(price)) for price in PRICES.items()],
            migrations.RunSQL.noop,
        ),
    ]
