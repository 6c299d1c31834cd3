"""The process itself: its capacity, its event loop, its garbage collector."""
