"""The push to the slotting engine: what it is sent, how, and what it answers (docs/slotting.md)."""
