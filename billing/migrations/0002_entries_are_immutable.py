"""Entries are append-only: the database refuses to change or remove one."""

from django.db import migrations

FORBID = """
CREATE FUNCTION billing_entry_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER billing_entry_is_immutable BEFORE UPDATE OR DELETE ON billing_entry
    FOR EACH ROW EXECUTE FUNCTION billing_entry_is_immutable();
"""
ALLOW = """
DROP TRIGGER billing_entry_is_immutable ON billing_entry;
DROP FUNCTION billing_entry_is_immutable();
"""
PRICES = """
INSERT INTO billing_price (operation, engine, credits, updated_at) VALUES
    ('removebg', '', 0.01, now()), ('upscale', '', 0.02, now()), ('resize', '', 0.01, now());
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [
        migrations.RunSQL(FORBID, ALLOW),
        migrations.RunSQL(PRICES, migrations.RunSQL.noop),
    ]
