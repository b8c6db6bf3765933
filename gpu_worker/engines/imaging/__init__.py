"""Operations on pictures without a model: each is one function on a `Picture`.

table      the operations: names, parameters, image roles; light to import
engine     one engine class per operation; what they have in common
output     a picture as a file: format, quality, bytes
resize, …  `apply(picture, parameters, others)`, one module per operation

The parameters are in `gpu_worker.engines.parameters`.
"""
