"""Runs and publishes: notebooks, profiles, report, claims, plan, gallery."""
