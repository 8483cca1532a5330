"""Breaks everything around a real daemon at random moments, and judges what arrived: docs/chaos.md.

Written from the documents alone: what is known of celreplay here is what docs/ says.
"""
