"""Our numbers against the original's: folders of recorded cases, rebuilt from their recipes and run through our code.

results.py      one line a case
recipes.py      weights and inputs from their recipes
checkpoints.py  weights in memory as an open file
transformer.py  fm/: encoder, decoder, logits, losses
sampling.py     generate/: schedules, filtering, greedy sequences, single steps
runs.py         generate/: whole runs with recorded choices
helpers.py      generate/: inputs for empty, given and hidden modalities
tokenizers.py   tokenizers/ and tok/: encoders, codebooks, decoders
schedulers.py   tok/schedulers: noise schedules and single steps
masking.py      masking/: budgets, statistics, recorded draws, fixed roles
vocabulary.py   text/: ids
command.py      all of them over a folder
"""
