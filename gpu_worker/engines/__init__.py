"""The engines: what does the work, each behind the same small interface.

    base             the interface: one engine, its items and outcomes
    parameters/      what may be asked for, as JSON schemas
    devices          where a model runs, and in which precision
    geometry, edge_colours, limits, torchvision_shim    shared by several
    classical        the default of cut-outs, which needs nothing

Without a model, on any CPU: cutout/, smart_mask/, upscaling/, imaging/, proxying/
(pictures on the fly) and sandbox/. With one: birefnet/, onnx_matte/, fastsam/, sam2/,
realesrgan/, qwen/. On somebody else's machines: hosted/.

Which of them a worker has, and why not the others, is in `gpu_worker.registry`. An
engine of one's own is a class that keeps the tests of `gpu_worker.testing`.
"""
