"""What is in files: found out in a process of its own, which may use little and reach nothing."""
