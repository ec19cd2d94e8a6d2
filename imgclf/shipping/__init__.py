"""The bundle, inference from any artefact, exporters and their verification."""
