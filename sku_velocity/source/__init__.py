"""Reading from a source: spec, client, pages and records."""
