"""Figures for a paper: how well a project's labels are predicted on recordings that were not learned from."""
