"""What a harvest will cost."""


def dollars(usd: float) -> str:
    """Dollars as a person reads them: cents, or more digits where cents would say nothing."""
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.4g}"
