from django.urls import path

from billing.pages import views

app_name = "billing"
urlpatterns = [
    path("credits", views.CreditsPage.as_view(), name="credits"),
    path("credits.csv", views.Export.as_view(), name="export"),
    path("prices", views.PricesPage.as_view(), name="prices"),
]
