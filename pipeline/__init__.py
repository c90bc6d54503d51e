"""The contract of one run of this repository: parameters, the layout of the artifacts, recipes, and table reports."""
