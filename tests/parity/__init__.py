"""Our numbers against the original's: folders of recorded cases, rebuilt from their recipes and run through our code.

`python tests/parity DIR` compares with those in a folder and prints a line for each case.

results.py      one line a case
recipes.py      weights and inputs from their recipes
batches.py      4M's padded batches as packed ones
checkpoints.py  weights in memory as an open file
transformer.py  fm/: encoder, decoder, logits, losses
sampling.py     generate/: schedules, filtering, greedy sequences, single steps
runs.py         generate/: whole runs with recorded choices
helpers.py      generate/: inputs for empty, given and hidden modalities
tokenizers.py   tokenizers/ and tok/: encoders, codebooks, decoders
schedulers.py   tok/schedulers: noise schedules and single steps
masking/        masking/: budgets, statistics, recorded draws, fixed roles
vocabulary.py   text/: ids
serialization.py text/: values of the sequence modalities as strings and ids
command.py      all of them over a folder
"""
