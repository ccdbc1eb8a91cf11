"""What the Transformer and the tokenizers share: attention, initial weights, position codes, collectives, devices."""
