"""The runtime of guests: a controller that asks for them, an agent on each node, a launcher in each pod."""
