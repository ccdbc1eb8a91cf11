"""Write a trained checkpoint in half precision, as it is packaged: export.py SOURCE DESTINATION."""

import sys

import anymodal as am

source, destination = sys.argv[1:]
am.load(source).save_pretrained(destination, dtype="float16")
