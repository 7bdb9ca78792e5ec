"""Imported first by every part that needs torch, so that a bare install says it in one line."""

from __future__ import annotations

from attar.checks import need

need("torch", extra="train", purpose="This part of Attar")
