"""Who is calling: people, their keys, and how both are known again.

    models            users and keys
    authentication    from the headers of a request to a caller
    keys              what a key looks like; issuing: made, replaced, ended
    own_keys          what a key may do with the keys of its account
    image_keys        what signs addresses of pictures
    signing_in        from a provider's answer to a session, by the rules of linking;
                      provider and adapters: GitHub and GitLab, as allauth speaks
    sessions          whose session it is; browsers: seen, listed, signed out
    joining           how a person gets an account, and leaving: how it ends; exporting:
                      all that is kept about them
    staff             roles and suspensions
    pages/            what a person sees of all this; shown_once: a new key's way there
    errors            why a caller is turned away

It knows neither jobs nor credits: those hear of newcomers and leavers by signals.
"""
