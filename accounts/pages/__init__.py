"""The pages about oneself: signing in, keys, the account."""
