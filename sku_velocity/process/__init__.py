"""What a process knows of itself: its capacity, its loop, its garbage collector."""
