"""What strangers send, read strictly.

    strict_json    JSON, as RFC 8259 means it and a little stricter
    schemas        an operation's parameters, by the JSON schema of its engine
    images         what a file is, from its content; image_headers: how large

Nothing here decodes a picture, and no value of a stranger's is said back in an error.
"""
