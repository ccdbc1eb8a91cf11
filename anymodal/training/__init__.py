"""Training: one loop for tokenizers and for the multimodal model.

engine.py      settings and the loop: precision, clipping, skipped steps, saving, stopping
optim.py       parameter groups, learning-rate schedules, averaged weights
checkpoint.py  the resumable state as a folder
log.py         the JSON-lines log and the progress bar
"""
