"""Prices for jobs that their owner pays at a provider with a key of their own."""

from django.db import migrations, models

# What the platform itself does for such a job: keep, wait, store, deliver.
PRICES = {"generate": "0.005", "edit": "0.005"}
INSERT = """
INSERT INTO billing_price (operation, engine, own_key, credits, updated_at)
VALUES (%s, '', true, %s, now()) ON CONFLICT (operation, engine, own_key) DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_prices_of_the_operations")]
    operations = [
        migrations.AddField(
            model_name="price",
            name="own_key",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RemoveConstraint(
            model_name="price", name="price_once_per_operation_and_engine"
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.UniqueConstraint(
                fields=("operation", "engine", "own_key"),
                name="price_once_per_operation_engine_and_key",
            ),
        ),
        migrations.RunSQL(
            [(INSERT, list(price)) for price in PRICES.items()],
            migrations.RunSQL.noop,
        ),
    ]
