"""The Airbyte CDK reader: a declarative (low-code) stream by offset, its messages to standard output.

`--stop short-page` gives the paginator its page size, like the documentation's examples: a shorter page ends
the reading. `--stop empty-page` sends the limit as a plain parameter: an empty page ends it.
"""

import argparse
import json
import sys
from pathlib import Path

from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import AirbyteStateMessageSerializer
from airbyte_cdk.sources.declarative.yaml_declarative_source import YamlDeclarativeSource

MANIFEST = """\
version: 6.0.0
type: DeclarativeSource
check: {{type: CheckStream, stream_names: [movements]}}
streams:
  - type: DeclarativeStream
    name: movements
    primary_key: [movement_id]
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: {url}
        path: /movements
        http_method: GET
        request_parameters: {{warehouse: WH-01{limit}}}
      record_selector:
        type: RecordSelector
        extractor: {{type: DpathExtractor, field_path: [records]}}
      paginator:
        type: DefaultPaginator
        page_token_option: {{type: RequestOption, inject_into: request_parameter, field_name: offset}}
        {size}
        pagination_strategy: {{type: OffsetIncrement{strategy}}}
    schema_loader:
      type: InlineSchemaLoader
      schema:
        type: object
        properties:
          movement_id: {{type: string}}
          sku_id: {{type: string}}
          warehouse_id: {{type: string}}
          units_moved: {{type: integer}}
          timestamp_utc: {{type: string, format: date-time}}
spec:
  type: Spec
  connection_specification: {{type: object, properties: {{}}}}
"""
STOPS = {
    "short-page": {
        "limit": "",
        "size": "page_size_option: {type: RequestOption, inject_into: request_parameter, field_name: limit}",
        "strategy": ", page_size: 1000",
    },
    "empty-page": {"limit": ", limit: '1000'", "size": "", "strategy": ""},
}
CATALOG = {
    "streams": [
        {
            "stream": {
                "name": "movements",
                "json_schema": {},
                "supported_sync_modes": ["full_refresh"],
                "source_defined_primary_key": [["movement_id"]],
            },
            "sync_mode": "full_refresh",
            "destination_sync_mode": "overwrite",
        }
    ]
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--work", type=Path, required=True, help="Directory for the connector's files.")
    parser.add_argument("--stop", choices=STOPS, required=True)
    parser.add_argument("--state", type=Path, help="State messages of the previous run.")
    options = parser.parse_args()
    manifest = _write(options.work / "manifest.yaml", MANIFEST.format(url=options.url, **STOPS[options.stop]))
    config = _write(options.work / "config.json", "{}")
    catalog = _write(options.work / "catalog.json", json.dumps(CATALOG))
    arguments = ["read", "--config", config, "--catalog", catalog]
    state = []
    if options.state:
        arguments += ["--state", str(options.state)]
        state = list(map(AirbyteStateMessageSerializer.load, json.loads(options.state.read_text())))
    source = YamlDeclarativeSource(
        manifest,
        catalog=YamlDeclarativeSource.read_catalog(catalog),
        config={},
        state=state,
    )
    launch(source, arguments)


def _write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
