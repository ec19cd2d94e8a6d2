"""Arrays in, numbers, pictures and pages out."""
