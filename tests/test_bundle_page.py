"""The page about bundles shows the schema that the package ships, and each of its members."""

from __future__ import annotations

import json
from pathlib import Path

from attar.export.bundle import bundle_schema

DOCS = Path(__file__).parents[1] / "docs"


def test_the_schema_of_the_docs_is_the_one_of_the_package() -> None:
    shown = json.loads((DOCS / "reference" / "bundle.schema.json").read_text("utf-8"))
    assert shown == bundle_schema()


def test_every_member_is_described() -> None:
    text = (DOCS / "how-to" / "bundle.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    described = {name.strip("` ") for row in rows for name in row.split(",")}
    assert set(bundle_schema()["properties"]) <= described
