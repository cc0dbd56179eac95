"""What is made of a model's own form before it is grouped: constants, functions, Einsum.

No model is run. `constants` evaluates nodes that read nothing but constants, `inlining` puts the
bodies of local functions in place of their calls, `einsum` writes products as MatMul.
"""
