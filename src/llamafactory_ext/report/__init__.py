"""Scores beside the papers' tables, as text, pictures and one page."""
