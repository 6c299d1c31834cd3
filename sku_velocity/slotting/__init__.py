"""The push to the slotting engine: requests, client and answers (docs/slotting.md)."""
