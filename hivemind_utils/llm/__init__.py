"""Asking models: requests, outcomes, costs, servers."""
