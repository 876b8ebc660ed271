"""The text towers of CLIP (arXiv:2103.00020), SigLIP (arXiv:2303.15343) and SigLIP 2
(arXiv:2502.14786): tokens become an embedding that can be compared with a picture's."""
