"""Linking finds the entity of an item by evidence: blocking proposes pairs, evidence scores them, assignment chooses."""
