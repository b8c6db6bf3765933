"""generate/qwen-image and edit/qwen-image-edit: diffusion models of the Qwen family.

generate, edit    the two engines
schemas           what each can be asked for, by the files that are there
settings          where the weights are, and how they are run
sizes             which size is painted for which is asked
conditions        an edit's pictures in the order that the model was trained with, and
                  the canvas back to a result
placing           an object's outline in the place that a mask marks
pipeline          loading, memory, compiling, schedulers, freeing
adapters          LoRA sets: loaded once, activated and verified for each job
painting          passes with progress, cancelled within a step
prompts           what the model would not read as it is

Whoever reads a spec imports `generate` or `edit`, which import nothing heavy.
"""
