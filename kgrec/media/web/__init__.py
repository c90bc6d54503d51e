"""The network: asking politely, keeping every answer, and answering again without it."""
