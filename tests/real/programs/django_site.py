"""A Django REST Framework site with movements. Run by the site's own interpreter: `fill` or `serve`."""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

DATABASE = Path(sys.argv[2]).resolve()
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework.authtoken",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="for loopback only",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402  # these need the settings
from django.db import connection, models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import filters, generics, pagination, serializers  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402

from tests.real.movements import movements  # noqa: E402


class Movement(models.Model):
    sku_id = models.CharField(max_length=40)
    warehouse_id = models.CharField(max_length=40)
    units_moved = models.IntegerField()
    timestamp_utc = models.DateTimeField()

    class Meta:
        app_label = "site"


class MovementSerializer(serializers.ModelSerializer):
    class Meta:
        model = Movement
        fields = ("id", "sku_id", "warehouse_id", "units_moved", "timestamp_utc")


class ByQuery(filters.BaseFilterBackend):
    """The site's own filters: `warehouse`, `from` and `to`."""

    def filter_queryset(self, request, queryset, view):
        lookups = {"warehouse": "warehouse_id", "from": "timestamp_utc__gte", "to": "timestamp_utc__lt"}
        given = {lookup: request.GET[name] for name, lookup in lookups.items() if name in request.GET}
        return queryset.filter(**given)


class ByOffset(pagination.LimitOffsetPagination):
    max_limit = 400


class ByPageNumber(pagination.PageNumberPagination):
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 300


class ByCursor(pagination.CursorPagination):
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 300


class Movements(generics.ListAPIView):
    queryset = Movement.objects.all()
    serializer_class = MovementSerializer
    filter_backends = (ByQuery, filters.OrderingFilter)
    ordering_fields = "__all__"


urlpatterns = [
    path(f"{name}/movements", Movements.as_view(pagination_class=style))
    for name, style in (("offset", ByOffset), ("page", ByPageNumber), ("cursor", ByCursor))
]


def fill() -> None:
    """Create the tables, the movements and a user; print the user's token."""
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Movement)
    Movement.objects.bulk_create(
        Movement(sku_id=m.sku, warehouse_id=m.warehouse, units_moved=m.units, timestamp_utc=m.at)
        for m in movements()
    )
    print(Token.objects.create(user=User.objects.create_user("reader")).key)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill()
    else:
        call_command("runserver", f"127.0.0.1:{sys.argv[3]}", use_reloader=False, skip_checks=True)
