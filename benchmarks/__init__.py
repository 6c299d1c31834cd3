"""The benchmarks, and the peers we compare with: `make bench` writes their tables to RESULTS.md."""
