"""A model behind HTTP: a page and a JSON interface, with limits on everything a stranger sends."""
