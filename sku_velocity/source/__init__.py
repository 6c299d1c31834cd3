"""Reading from a source: its spec, its client, its pace and its pages."""
