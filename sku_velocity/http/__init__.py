"""The HTTP core shared by the clients of sources and of slotting engines."""
