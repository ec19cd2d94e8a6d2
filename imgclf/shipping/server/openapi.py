"""The interface as OpenAPI 3.1, for programs that write clients."""

from typing import Any

from imgclf import __version__
from imgclf.shipping.server.limits import Limits

TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
REFUSALS = {
    400: "the form or a parameter is wrong",
    403: "a page of another site asks",
    408: "header or body came too slowly",
    413: "the body is too large",
    415: "the content type is neither a form nor an image",
    421: "the server is not called as `Host` says",
    422: "no file could be read as an image; `predictions` has the reasons",
    503: "too much at once; `Retry-After` says when to come again",
}


def describe(facts: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The document."""
    limit = f"At most {limits.body_bytes / 2**20:g} MB and {limits.files} files, each of {limits.pixels:,} pixels."
    return {
        "openapi": "3.1.0",
        "info": {"title": f"imgclf: {facts['model']}", "version": __version__, "description": limit},
        "paths": {
            "/predict": {"post": _predict(facts)},
            "/model": {"get": _get("The model: classes, preprocessing, version, figures.", {"type": "object"})},
            "/health": {
                "get": _get(
                    "Whether the server is there.",
                    _schema(status=TEXT, model=TEXT, running=COUNT, served=COUNT, batches=COUNT),
                )
            },
        },
        "components": {"schemas": {"Row": _row(facts), "Error": _error()}},
    }


def _predict(facts: dict[str, Any]) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    files = {"type": "array", "items": binary}
    answer = _schema(model=TEXT, predictions={"type": "array", "items": {"$ref": "#/components/schemas/Row"}})
    answers = {"200": {"description": "A row for each file, in order.", **_json(answer)}}
    refused = _json({"$ref": "#/components/schemas/Error"})
    top = {"type": "integer", "minimum": 1, "maximum": len(facts["classes"])}
    return {
        "summary": "Classify one image or several.",
        "parameters": [
            {"name": "top_k", "in": "query", "schema": top, "description": "How many classes `probs` keeps."},
            {"name": "heatmap", "in": "query", "schema": {"enum": [0, 1]}, "description": "1: with heat maps."},
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": {"file": files}}},
                "image/*": {"schema": binary},
                "application/octet-stream": {"schema": binary},
            },
        },
        "responses": {**answers, **{str(code): {"description": why, **refused} for code, why in REFUSALS.items()}},
    }


def _row(facts: dict[str, Any]) -> dict[str, Any]:
    probs = {"type": "object", "additionalProperties": NUMBER, "description": "The most probable class first."}
    heat = {
        **_schema(**{"class": TEXT, "seen": TEXT, "map": TEXT}),
        "description": "As PNG in `data:` addresses: the image as the model saw it, and what spoke for the class.",
    }
    several = facts["task"] == "multi"
    labels = {"type": "array", "items": {"enum": facts["classes"]}}
    own = {"labels": labels} if several else {"label": TEXT, "prob": NUMBER, "abstained": FLAG}
    known = {
        "unlike": {**FLAG, "description": "Whether the image is unlike those the model knows."},
        "distance": NUMBER,
    }
    made = _schema(file=TEXT, error=TEXT, **own, probs=probs, **known, heatmap=heat)
    return {**made, "description": "Either `error`: why the file cannot be read, or the answer."}


def _error() -> dict[str, Any]:
    return _schema(error=_schema(status={"type": "integer"}, message=TEXT, hint={"type": ["string", "null"]}))


def _get(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": summary, **_json(schema)}}}


def _schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}
