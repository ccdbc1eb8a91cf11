"""Fine-tuning for a task: the encoder of a model and a small head, trained by the engine of all other runs.

settings               the configuration of a run
tasks                  the table of tasks, and what each one has to say
classification, grids, boxes, boxes3d   the tasks
centers                boxes of two or three dimensions as points of a map
solids                 oriented boxes: how much two overlap, and the average precision of such
network                encoder and head in one module
samples, thinking      batches, and modalities that the model generates first
run, result            a run, and what it leaves
"""
