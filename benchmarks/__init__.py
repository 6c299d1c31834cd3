"""What we measure, and against whom: `make bench`, and its tables in RESULTS.md."""
