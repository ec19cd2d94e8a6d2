"""The networks that can be trained and shipped, by name, on torch alone: training and shipping build them alike."""
