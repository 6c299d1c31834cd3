"""The singer-sdk reader: a tap with one RESTStream and the SDK's offset paginator, to standard output.

The paginator ends at the API's total by `has_more`, the SDK's hook for that.
"""

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.pagination import OffsetPaginator

PAGE = 1000


class ByTotal(OffsetPaginator):
    def has_more(self, response):
        return self.current_value + self.page_size < response.json()["total"]


class Movements(RESTStream):
    name = "movements"
    path = "/movements"
    primary_keys = ("movement_id",)
    records_jsonpath = "$.records[*]"
    schema = th.PropertiesList(
        th.Property("movement_id", th.StringType),
        th.Property("sku_id", th.StringType),
        th.Property("warehouse_id", th.StringType),
        th.Property("units_moved", th.IntegerType),
        th.Property("timestamp_utc", th.DateTimeType),
    ).to_dict()

    @property
    def url_base(self):
        return self.config["url"]

    def get_new_paginator(self):
        return ByTotal(start_value=0, page_size=PAGE)

    def get_url_params(self, context, next_page_token):
        return {"warehouse": "WH-01", "offset": next_page_token, "limit": PAGE}


class TapMovements(Tap):
    name = "tap-movements"
    config_jsonschema = th.PropertiesList(th.Property("url", th.StringType, required=True)).to_dict()

    def discover_streams(self):
        return [Movements(self)]


if __name__ == "__main__":
    TapMovements.cli()
