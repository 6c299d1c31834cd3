"""The dlt reader: the `rest_api` source with its offset paginator, into DuckDB or PostgreSQL.

As dlt's documentation advises, it ends at the API's total, and uses a primary key with `merge` if rows may be
read twice. Without `--format`, its intermediate files have dlt's default format.
"""

import argparse
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--destination", choices=["duckdb", "postgres"], required=True)
    parser.add_argument("--address", required=True, help="A DuckDB file, or a PostgreSQL URL.")
    parser.add_argument("--state", type=Path, required=True, help="Directory of the pipeline's state.")
    parser.add_argument("--disposition", choices=["replace", "merge"], required=True)
    parser.add_argument("--format", choices=["parquet", "csv"])
    options = parser.parse_args()
    pipeline = dlt.pipeline(
        pipeline_name="movements",
        pipelines_dir=str(options.state),
        destination=getattr(dlt.destinations, options.destination)(credentials=options.address),
        dataset_name="wms",
    )
    load = pipeline.run(source(options.url, options.disposition), loader_file_format=options.format)
    load.raise_on_failed_jobs()
    print(load)


def source(url: str, disposition: str):
    return rest_api_source(
        {
            "client": {
                "base_url": url,
                "paginator": {"type": "offset", "limit": 1000, "total_path": "total"},
            },
            "resources": [
                {
                    "name": "movements",
                    "primary_key": "movement_id",
                    "write_disposition": disposition,
                    "endpoint": {
                        "path": "movements",
                        "params": {"warehouse": "WH-01"},
                        "data_selector": "records",
                    },
                }
            ],
        }
    )


if __name__ == "__main__":
    main()
