import pytest
from billing.models import Price

@pytest.mark.django_db
def test_prices() -> None:
    assert Price.objects.count() == 3
