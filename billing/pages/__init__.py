"""Credits as their owner sees them: the balance, every movement, the prices."""
