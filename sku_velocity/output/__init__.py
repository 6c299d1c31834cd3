"""What leaves the pipeline as a file or an artifact: its name, CSV for spreadsheets, atomic writes."""
