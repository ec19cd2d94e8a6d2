"""What scripts/fuzz.py is made of: cases, targets, and who watches them."""
