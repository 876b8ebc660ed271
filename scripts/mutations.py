"""Mistakes in the numerics, each of which the tests must notice; `scripts/mutate` makes them.

A mistake replaces one piece of source text, which occurs once in its file. An area names the tests
that a developer would run after a change there, the quickest first.
"""

from __future__ import annotations

from dataclasses import dataclass

AREAS: dict[str, tuple[str, ...]] = {
    "mapping": ("tests/conversion/test_files.py", "tests/models/test_parity_with_timm.py"),
    "dialects": (
        *("tests/dialects/test_transforms.py", "tests/dialects/test_goldens.py"),
        "tests/dialects/test_schemes.py",
    ),
    "model": ("tests/models/test_parity_with_timm.py",),
    "geometry": ("tests/models/test_parity_with_timm.py", "tests/architectures/test_rotary.py"),
    "folding": (
        *("tests/folding/test_passes.py", "tests/folding/test_logits.py"),
        "tests/exporters/test_export_parity.py",
    ),
    "lowering": (
        *("tests/folding/test_logits.py", "tests/exporters/test_export_parity.py"),
        "tests/folding/test_passes.py",
    ),
    "words": ("tests/words/test_text_artifacts.py",),
    "quantisation": ("tests/exporters/test_quantisation.py",),
    "resampling": ("tests/conversion/test_pos_embed.py",),
    "preprocessing": ("tests/images/test_preprocessing.py",),
    "export": ("tests/exporters/test_export_parity.py", "tests/exporters/test_tf_hub.py"),
    "attention maps": ("tests/inference/test_attention_maps.py",),
    "answers": ("tests/cli/test_predict.py", "tests/cli/test_evaluate.py"),
}


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        area: whose tests must notice it.
        what: the mistake, for people.
        file: where, under vit_convert/.
        right: the source text.
        wrong: what it becomes.
    """

    area: str
    what: str
    file: str
    right: str
    wrong: str


def _in(area: str, file: str, *mistakes: tuple[str, str, str]) -> list[Mistake]:
    return [Mistake(area, what, file, right, wrong) for what, right, wrong in mistakes]


MISTAKES: tuple[Mistake, ...] = (
    *_in(
        "mapping",
        "architectures/parameters.py",
        (
            "kernels of linear layers not transposed",
            'dict[Kind, tuple[int, ...]] = {"linear": (1, 0), ',
            'dict[Kind, tuple[int, ...]] = {"linear": (0, 1), ',
        ),
        ("height and width of kernels swapped", '"conv": (2, 3, 1, 0)', '"conv": (3, 2, 1, 0)'),
        ("gamma and beta swapped", '("norm", "weight"): "gamma"', '("norm", "weight"): "beta"'),
        (
            "arrays come back in the wrong order of axes",
            "array.transpose(np.argsort(self._axes))",
            "array.transpose(self._axes)",
        ),
    ),
    *_in(
        "dialects",
        "dialects/transforms.py",
        (
            "parts joined in reverse: q and v swapped",
            "forward=lambda arrays: [np.concatenate(arrays)],",
            "forward=lambda arrays: [np.concatenate(arrays[::-1])],",
        ),
        ("height and width of JAX kernels swapped", '"hwio", (3, 2, 0, 1)', '"hwio", (3, 2, 1, 0)'),
        (
            "channels of cut-out patches in the wrong place",
            '"cut-out patches", (1, 2, 0)',
            '"cut-out patches", (2, 1, 0)',
        ),
    ),
    *_in(
        "dialects",
        "dialects/attention_transforms.py",
        (
            "q, k and v of Flax joined in reverse",
            "np.concatenate([a.reshape(len(a), -1).T for a in arrays])",
            "np.concatenate([a.reshape(len(a), -1).T for a in arrays[::-1]])",
        ),
        (
            "the zeros of absent key biases stand for the queries'",
            "np.concatenate([arrays[0], np.zeros_like(arrays[0]), arrays[1]])",
            "np.concatenate([np.zeros_like(arrays[0]), arrays[0], arrays[1]])",
        ),
        (
            "a mask of key biases applied the wrong way round",
            "np.where(mask == 0, np.zeros_like(bias), bias * mask)",
            "np.where(mask == 0, bias, np.zeros_like(bias))",
        ),
    ),
    *_in(
        "model",
        "models/layers/attention.py",
        (
            "q and k swapped",
            "q, k, v = [split_heads(y, options.num_heads)",
            "k, q, v = [split_heads(y, options.num_heads)",
        ),
        ("the scale of scores forgotten", "tf.matmul(q * q.shape[-1] ** -0.5, k", "tf.matmul(q, k"),
        (
            "the scale of scores applied twice",
            "tf.matmul(q * q.shape[-1] ** -0.5, k",
            "tf.matmul(q / q.shape[-1], k",
        ),
        (
            "the scale taken of the whole width",
            "q.shape[-1] ** -0.5",
            "(q.shape[1] * q.shape[-1]) ** -0.5",
        ),
        (
            "softmax over the queries",
            "tf.nn.softmax(tf.cast(scores, tf.float32))",
            "tf.nn.softmax(tf.cast(scores, tf.float32), axis=-2)",
        ),
        (
            "heads interleaved with channels",
            "tf.reshape(x, (-1, n, num_heads, dim // num_heads)), (0, 2, 1, 3))",
            "tf.reshape(x, (-1, n, dim // num_heads, num_heads)), (0, 3, 1, 2))",
        ),
        (
            "q and k share q's norm",
            "q, k = self.q_norm(q), self.k_norm(k)",
            "q, k = self.q_norm(q), self.q_norm(k)",
        ),
        (
            "keys are not turned",
            "k = turned(k, rotary, options.rotary_neighbours)",
            "k = turned(k, (rotary[0], 0 * rotary[1]), options.rotary_neighbours)",
        ),
        (
            "the relative position bias subtracted",
            "scores = scores + tf.cast(bias, scores.dtype)",
            "scores = scores - tf.cast(bias, scores.dtype)",
        ),
        (
            "talking heads mixed before the softmax only",
            "weights = self.proj_w(softmax(scores))",
            "weights = softmax(scores)",
        ),
        (
            "the second patch asks instead of the class token",
            "self.q(x[:, :1])",
            "self.q(x[:, 1:2])",
        ),
    ),
    *_in(
        "model",
        "models/layers/norm.py",
        (
            "epsilon outside the root",
            "tf.math.rsqrt(variance + self.epsilon)",
            "(1 / (tf.sqrt(variance) + self.epsilon))",
        ),
        (
            "an epsilon too much",
            "tf.math.rsqrt(variance + self.epsilon)",
            "tf.math.rsqrt(variance + 2e-3)",
        ),
        (
            "unbiased variance",
            "variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)",
            "variance = tf.reduce_sum(tf.square(centred), axis=-1, keepdims=True) / "
            "(x.shape[-1] - 1)",
        ),
    ),
    *_in(
        "model",
        "models/layers/mlp.py",
        ("GELU always exact", 'approximate=kind == "tanh"', "approximate=False"),
        ("another slope of the quick GELU", "tf.sigmoid(1.702 * x)", "tf.sigmoid(1.7 * x)"),
    ),
    *_in(
        "model",
        "models/layers/swiglu.py",
        (
            "gate and value swapped",
            "gate * tf.sigmoid(gate) * value",
            "value * tf.sigmoid(value) * gate",
        ),
    ),
    *_in(
        "model",
        "models/layers/pooling.py",
        (
            "average pooling takes the class token too",
            "pooled = tokens[:, self.skip :]",
            "pooled = tokens",
        ),
        (
            "average pooling leaves out one patch",
            "pooled = tokens[:, self.skip :]",
            "pooled = tokens[:, self.skip + 1 :]",
        ),
        ("attention pooling without its residual connection", "y = y + self.mlp(", "y = self.mlp("),
    ),
    *_in(
        "model",
        "models/layers/tokens.py",
        (
            "learned tokens behind the patches",
            "tf.concat([tokens[:, : self.after], learned, tokens[:, self.after :]], axis=1)",
            "tf.concat([tokens, learned], axis=1)",
        ),
    ),
    *_in(
        "model",
        "models/vit.py",
        ("DeiT's second head reads the class token", "TakeToken(i, dtype", "TakeToken(0, dtype"),
        ("the last norm forgotten", "x = last_norm(x)", "last_norm(x)"),
    ),
    *_in(
        "model",
        "models/cait.py",
        (
            "LayerScale of the MLP on the attention",
            "x = x + self.drop_path(self.gamma_1 * attended",
            "x = x + self.drop_path(self.gamma_2 * attended",
        ),
        (
            "class token behind the patches",
            "both = tf.concat([cls, patches], axis=1)",
            "both = tf.concat([patches, cls], axis=1)",
        ),
    ),
    *_in(
        "geometry",
        "architectures/vit/rotary.py",
        (
            "rows and columns swapped",
            "else (rows, columns)",
            "else (columns, rows)",
        ),
        ("places of patches off by half", "(index + 0.5) / count", "index / count"),
        (
            "turned the other way",
            "np.concatenate([-sines, sines], axis=-1),\n    )",
            "np.concatenate([sines, -sines], axis=-1),\n    )",
        ),
        (
            "the class token is turned and the last patch is not",
            "np.concatenate([none, angles], axis=-2)",
            "np.concatenate([angles, none], axis=-2)",
        ),
    ),
    *_in(
        "geometry",
        "architectures/vit/relative_position.py",
        (
            "distances in the wrong direction",
            "down = row[:, None] - row[None, :] + rows - 1",
            "down = row[None, :] - row[:, None] + rows - 1",
        ),
        (
            "from and to the class token swapped",
            "index[0, :] = last - 3\n    index[:, 0] = last - 2",
            "index[0, :] = last - 2\n    index[:, 0] = last - 3",
        ),
    ),
    *_in(
        "folding",
        "folding/attention.py",
        (
            "the scale of scores twice as strong",
            "scaled(attention.head_dim**-0.25)",
            "scaled(attention.head_dim**-0.5)",
        ),
        (
            "k split from where q is",
            "_rows(i * rows, (i + 1) * rows)",
            "_rows(max(0, i - 1) * rows, max(1, i) * rows)",
        ),
        (
            "biases of normed keys dropped",
            "if not (attention.qk_norm or attention.rotary):",
            "if not attention.qk_norm:",
        ),
        (
            "channels of all heads in the first head's order",
            "rows = (starts + order).reshape(-1)",
            "rows = (starts + np.arange(attention.head_dim)).reshape(-1)",
        ),
        (
            "the bias of the pooled values forgotten",
            "lambda bias, weight, values: bias + weight @ values",
            "lambda bias, weight, values: bias",
        ),
        (
            "learned frequencies of the block before",
            "mixed_tables(array[:, block]",
            "mixed_tables(array[:, block - 1]",
        ),
    ),
    *_in(
        "folding",
        "folding/stream.py",
        (
            "LayerScale on the inputs of square layers",
            "gamma[:, None] if array.ndim == 2 else gamma",
            "gamma[:, None] if array.ndim == 2 and array.shape[1] != len(gamma) else gamma",
        ),
        (
            "the gamma of the first block everywhere",
            "gamma = model.weights[branch.scale]",
            "gamma = model.weights[model.graph.branches[0].scale]",
        ),
        (
            "epsilons not scaled with the stream",
            "norm.epsilon * STREAM_SCALE**2",
            "norm.epsilon",
        ),
        (
            "the mean taken over the inputs",
            "changed[name] = model.weights[name].changed(_centred(0))",
            "changed[name] = model.weights[name].changed(_centred(-1))",
        ),
    ),
    *_in(
        "folding",
        "folding/norms.py",
        ("gamma on the outputs", "    weight *= gamma\n", "    weight *= gamma.mean()\n"),
        ("beta forgotten", "return weight @ beta + bias", "return bias"),
    ),
    *_in(
        "folding",
        "folding/embeddings.py",
        (
            "mean and std swapped in the graph",
            "(model.spec.preprocessing.mean, model.spec.preprocessing.std)",
            "(model.spec.preprocessing.std, model.spec.preprocessing.mean)",
        ),
        ("pixels divided by 256", "array / (255 * std)", "array / (256 * std)"),
        (
            "positions off by one",
            "tokens[:, places] += position.compute()",
            "tokens[:, places] += np.roll(position.compute(), 1, axis=1)",
        ),
        (
            "the patch bias on the class token too",
            "tokens[:, start:] += bias",
            "tokens[:, :] += bias",
        ),
    ),
    *_in(
        "lowering",
        "exporters/tflite/lowering/attention.py",
        (
            "halves not swapped before they are turned",
            'halves = [g.slice(x, 3, d // 2, d, "second"), g.slice(x, 3, 0, d // 2, "first")]',
            'halves = [g.slice(x, 3, 0, d // 2, "first"), g.slice(x, 3, d // 2, d, "second")]',
        ),
        (
            "heads merged in the wrong order of axes",
            'g.reshape(g.transpose(mixed, (0, 2, 1, 3)), shape, "merged")',
            'g.reshape(mixed, shape, "merged")',
        ),
        (
            "talking heads' filters transposed",
            "array[head][None, :, None, None]",
            "array[:, head][None, :, None, None]",
        ),
        (
            "the bias of another talking head",
            "np.full(channels, array[head])",
            "np.full(channels, array[head - 1])",
        ),
    ),
    *_in(
        "lowering",
        "exporters/tflite/lowering/vit.py",
        (
            "the second head reads the class token",
            'g.tokens(x, i, i + 1, f"pool_{i}")',
            'g.tokens(x, 0, 1, f"pool_{i}")',
        ),
        (
            "the average over one patch less",
            "skipped = 0 if config.pool_prefix else config.num_prefix_tokens",
            "skipped = 1 if config.pool_prefix else config.num_prefix_tokens + 1",
        ),
    ),
    *_in(
        "lowering",
        "exporters/tflite/lowering/layers.py",
        (
            "rows and columns of patches swapped",
            "array.transpose(0, 2, 3, 1).reshape(dim, high, 1, wide * channels)",
            "array.transpose(0, 2, 1, 3).reshape(dim, high, 1, wide * channels)",
        ),
        ("the tanh GELU for all", 'approximate=kind == "tanh"', "approximate=True"),
    ),
    *_in(
        "words",
        "exporters/tflite/lowering/text.py",
        ("the causal mask forgotten", "if config.causal:", "if not config.causal:"),
        (
            "the first token is read in place of the last",
            'g.tokens(x, context - 1, context, "last")',
            'g.tokens(x, 0, 1, "last")',
        ),
    ),
    *_in(
        "words",
        "architectures/text/masking.py",
        ("a token does not see itself", "HIDDEN, np.float32), 1)", "HIDDEN, np.float32), 0)"),
        ("later tokens are seen, and earlier ones not", "np.triu(", "np.tril("),
    ),
    *_in(
        "words",
        "models/layers/words.py",
        ("the last end token", "tf.argmax(ranked, axis=1)", "tf.argmin(ranked, axis=1)"),
    ),
    *_in(
        "words",
        "exporters/tflite/weights.py",
        (
            "the scale of another row",
            "return quantised(table.array()).scales[:, None]",
            "return np.roll(quantised(table.array()).scales, 1)[:, None]",
        ),
    ),
    *_in(
        "lowering",
        "exporters/tflite/lowering/cait.py",
        (
            "LayerNorm of the class token with a standard deviation",
            "np.sqrt((array**2).mean() + epsilon)",
            "(np.sqrt((array**2).mean()) + 30 * epsilon**0.5)",
        ),
    ),
    *_in(
        "quantisation",
        "exporters/tflite/weights.py",
        (
            "the scale of the neighbour row",
            "scales[start : start + rows] = scale",
            "scales[start : start + rows] = np.roll(scale, 1)",
        ),
        ("values rounded down", "np.rint(ratio, out=ratio)", "np.floor(ratio, out=ratio)"),
        (
            "one scale for all rows",
            "largest = np.maximum(part.max(axis=1), -part.min(axis=1))",
            "largest = np.full(len(part), np.abs(part).max())",
        ),
        (
            "negative extremes not seen",
            "np.maximum(part.max(axis=1), -part.min(axis=1))",
            "np.maximum(part.max(axis=1), 0)",
        ),
        ("scales for 128 steps", "_LARGEST = 127", "_LARGEST = 63"),
    ),
    *_in(
        "quantisation",
        "exporters/tflite/calibration.py",
        (
            "calibrated on the pictures that measure",
            "CalibrationImages(images[~held_back], images[held_back]",
            "CalibrationImages(images[held_back], images[held_back]",
        ),
    ),
    *_in(
        "resampling",
        "conversion/pos_embed.py",
        ("PyTorch's kernel for timm's", "a=-0.5)", "a=-0.75)"),
        ("timm's kernel for PyTorch's", "a=-0.75\n", "a=-0.5\n"),
        (
            "corners aligned",
            "centres = (np.arange(new) + 0.5) * scale",
            "centres = np.arange(new) * scale + 0.5",
        ),
        ("no antialiasing", "distance / max(scale, 1.0)", "distance"),
        ("rows and columns swapped", '"ih,jw,hwc->ijc"', '"ih,jw,whc->ijc"'),
        (
            "the class token resampled as a patch",
            "np.concatenate([prefix, resampled], axis=1)",
            "np.concatenate([resampled[:, :prefix.shape[1]], resampled], axis=1)",
        ),
    ),
    *_in(
        "preprocessing",
        "images/preprocessing.py",
        (
            "mean and std swapped",
            "(preprocessing.mean, preprocessing.std)",
            "(preprocessing.std, preprocessing.mean)",
        ),
        ("pixels divided by 256", "np.float32(255)", "np.float32(256)"),
        ("the longer side resized", "if width <= height:", "if width > height:"),
        ("the crop off by one", "return round((side - crop) / 2)", "return (side - crop) // 2 + 1"),
        (
            "bilinear and bicubic swapped",
            '"bicubic": Image.Resampling.BICUBIC',
            '"bicubic": Image.Resampling.BILINEAR',
        ),
        (
            "crop_pct the wrong way round",
            "math.floor(side / crop_pct)",
            "math.floor(side * crop_pct)",
        ),
    ),
    *_in(
        "preprocessing",
        "images/decoding.py",
        (
            "one of the orientations turned the other way",
            "6: Image.Transpose.ROTATE_270",
            "6: Image.Transpose.ROTATE_90",
        ),
        ("the low byte of 16 bits", "(line >> 8)", "(line & 255)"),
    ),
    *_in(
        "export",
        "exporters/graph.py",
        (
            "mean and std swapped",
            "(preprocessing.mean, preprocessing.std)",
            "(preprocessing.std, preprocessing.mean)",
        ),
        ("0..1 scaled as 0..255", 'if input_range == "0..255":', "if True:"),
        ("softmax forgotten", 'if output.unit == "probability":', "if False:"),
    ),
    *_in(
        "attention maps",
        "inference/attention.py",
        (
            "attention of the wrong block",
            "chosen[place], spec.config.grid",
            "chosen[place - 1], spec.config.grid",
        ),
        (
            "the first tokens taken for the patches",
            "asked[:, -patches:].reshape",
            "asked[:, :patches].reshape",
        ),
        (
            "blocks rolled out in reverse",
            "(weights.astype(np.float64).mean(axis=0) + np.eye(tokens)) / 2 @ rolled",
            "rolled @ (weights.astype(np.float64).mean(axis=0) + np.eye(tokens)) / 2",
        ),
        (
            "rollout without the residual connection",
            "(weights.astype(np.float64).mean(axis=0) + np.eye(tokens)) / 2 @",
            "weights.astype(np.float64).mean(axis=0) @",
        ),
        (
            "attention paid to the class token",
            "asked = weights[:, 0] if",
            "asked = weights[:, :, 0] if",
        ),
        (
            "the first head for the mean of all",
            "mean = first.heads.mean(axis=0)",
            "mean = first.heads[0]",
        ),
    ),
    *_in(
        "answers",
        "inference/scoring.py",
        (
            "the least probable classes first",
            "np.argsort(-scores, axis",
            "np.argsort(scores, axis",
        ),
    ),
    *_in(
        "answers",
        "inference/running.py",
        (
            "softmax of probabilities",
            'return values if artifact.output.kind == "probabilities" else softmax(values)',
            "return softmax(values)",
        ),
    ),
    *_in(
        "answers",
        "inference/rows.py",
        ("labels off by one", "[names[i] for i in best]", "[names[i - 1] for i in best]"),
    ),
)
