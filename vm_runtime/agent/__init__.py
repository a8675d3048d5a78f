"""The node's half of guests: gives launchers their instances, listens to them, and says what the host can do."""
