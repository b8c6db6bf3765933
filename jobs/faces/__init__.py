"""The paths of the systems that nijika replaces, as thin faces over the same orders.

A face reads what an old client sends, makes an `Order` of it, and answers in the old
client's words. It holds no rule of its own: what is valid, what it costs, whose it is
and what counts twice is decided where the canonical API has it decided.

    reading      fields and images of a request, in JSON or a form
    refusals     errors in each old system's statuses and words
    serving      submit, wait, answer with bytes or JSON
    singles      /removebg, /upscale
    editing      /edit
    generation   /generate, now and later; comparing: with three numbers of steps
    masks        /smart-mask
    utilities    /image-utils/...

docs/old-paths.md says what of the old systems answers how, and what is different.
"""
