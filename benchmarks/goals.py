"""What a benchmark found, beside what it should be."""


def goal(name: str, found: float, most: float) -> bool:
    """Say what was found, and whether that is within the goal."""
    met = found <= most
    print(f"{name + ':':44} {found:.2f} (goal: at most {most:g}: {'met' if met else 'MISSED'})", flush=True)
    return met
