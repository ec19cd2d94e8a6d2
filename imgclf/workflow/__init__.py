"""The library half of every command: the rooms, put together. Prints nothing; takes and returns finished objects."""
