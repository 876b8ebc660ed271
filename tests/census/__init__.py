"""A census of models: what does recognition say of each, and is it wrong in silence anywhere?

`scripts/census` takes all of them, the tests a few. A model is one of five things:

- right: what was recognised gives the model's own numbers;
- assumed: it gives others, but each value that differs was called assumed;
- refused: by an error;
- silent: it gives others, and nobody was told. There must be none;
- unjudged: it was recognised, but the model's class takes other inputs than pictures, so that its
  numbers cannot be compared here.
"""
