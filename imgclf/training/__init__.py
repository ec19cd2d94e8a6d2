"""The plan, the learner and the fit."""
