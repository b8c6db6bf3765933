"""removebg/birefnet and smart-mask/birefnet: cut-outs and masks by a trained network,
BiRefNet (arXiv 2401.03407).

swin, deformable, network    the network in plain torch, under the published names
weights                      the published files, loaded strictly
remote_code                  the other way to load: code of a listed folder
fitted, folding, kernels     the same function, as it runs fast; checking: that it is;
                             graphs: sent to the device at once
sizing                       how large the network sees a picture
colours                      colours free of the old background
matting                      pictures in, cut-outs out, all of it on the device
running                      loading it, once for both engines
pointing, masking            where to look for what was pointed at, and looking there
settings, engine, mask_engine    what the worker knows before anything of this is
                             imported
"""
