"""Serving: a trained model published as a folder, asked for lists, looked into, and shown on a page."""
