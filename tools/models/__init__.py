"""The models behind the tools: the roles they play, and how each is loaded.

torch and transformers are imported by the modules in here only when a model is loaded.
"""
