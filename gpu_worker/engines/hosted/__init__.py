"""Engines that are somebody else's machines: Google, fal, OpenAI, Stability.

engine      one class per operation and provider, and what they all do
specs       what each can be asked for
provider    what every provider is spoken to in: submit, poll, fetch
driving     one job's way through that, paid once whatever dies meanwhile
memory      what of it the platform keeps (a checkpoint)
circuit     a provider that is down is left alone for a while
errors      what can go wrong there
google, fal, openai, stability   the providers; fal_models is fal's table
pictures    what goes there and what comes back; foreign bytes stay in a child
wire        how a connection failed
options     settings
"""
