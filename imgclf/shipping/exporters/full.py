"""The ONNX file that takes a photograph of any size, and brings it to the model's size itself.

Pillow's antialiased bilinear resize is ONNX's ``Resize`` with ``antialias`` and ``exclude_outside``, on whole numbers:
onnxruntime took its arithmetic over from Pillow, but for scales of 24 bits. What is left are single steps of the 255.
"""

from pathlib import Path
from typing import Any

from imgclf import runs
from imgclf.data.images import Preprocess, ResizeRule
from imgclf.shipping import bundle as bundles
from imgclf.shipping.exporters import onnx, pixels

# The largest centre square.
CROP = """
  fit_side = ReduceMin <keepdims = 1> (fit_sides)
  fit_spare = Sub (fit_sides, fit_side)
  fit_two = Constant <value_ints = [2]> ()
  fit_start = Div (fit_spare, fit_two)
  fit_stop = Add (fit_start, fit_side)
  fit_axes = Constant <value_ints = [1, 2]> ()
  fit_square = Slice (image, fit_start, fit_stop, fit_axes)
"""
# The smallest square, reflected at the edges: as often as it takes, which ONNX's own Pad cannot do.
PAD = """
  fit_side = ReduceMax <keepdims = 1> (fit_sides)
  fit_spare = Sub (fit_side, fit_sides)
  fit_two = Constant <value_ints = [2]> ()
  fit_before = Div (fit_spare, fit_two)
  fit_one = Constant <value_ints = [1]> ()
  fit_last = Sub (fit_sides, fit_one)
  fit_twice = Mul (fit_last, fit_two)
  fit_period = Max (fit_twice, fit_one)
  fit_zero = Constant <value_int = 0> ()
  fit_step = Constant <value_int = 1> ()
  fit_end = Squeeze (fit_side)
  fit_places = Range (fit_zero, fit_end, fit_step)
  fit_column = Constant <value_ints = [-1, 1]> ()
  fit_line = Reshape (fit_places, fit_column)
  fit_moved = Sub (fit_line, fit_before)
  fit_turned = Mod (fit_moved, fit_period)
  fit_off = Sub (fit_turned, fit_last)
  fit_far = Abs (fit_off)
  fit_source = Sub (fit_last, fit_far)
  fit_rows_2d, fit_columns_2d = Split <axis = 1, num_outputs = 2> (fit_source)
  fit_rows = Squeeze (fit_rows_2d, fit_one)
  fit_columns = Squeeze (fit_columns_2d, fit_one)
  fit_high = Gather <axis = 1> (image, fit_rows)
  fit_square = Gather <axis = 2> (fit_high, fit_columns)
"""
# Of that as much as the model sees.
CENTRE = """
  fit_from = Constant <value_ints = [{start}, {start}]> ()
  fit_to = Constant <value_ints = [{stop}, {stop}]> ()
  fit_across = Constant <value_ints = [2, 3]> ()
  fit_centre = Slice (fit_resized, fit_from, fit_to, fit_across)
"""
SQUARED: dict[ResizeRule, str] = {"crop": CROP, "pad": PAD, "squish": "\n  fit_square = Identity (image)\n"}
GRAPH = """
<ir_version: 8, opset_import: ["" : {opset}]>
fit (uint8[1, height, width, 3] image) => (uint8[1, {size}, {size}, 3] fitted) {{
  {sides}{squared}
  fit_planes = Transpose <perm = [0, 3, 1, 2]> (fit_square)
  fit_size = Constant <value_ints = [1, 3, {resized}, {resized}]> ()
  fit_resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1,
    coordinate_transformation_mode = "half_pixel"> (fit_planes, , , fit_size)
  {centre}
  fitted = Transpose <perm = [0, 2, 3, 1]> (fit_centre)
}}
"""
SIDES = "fit_sides = Shape <start = 1, end = 3> (image)"


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write it: uint8 RGB (1, H, W, 3), any H and W, to probabilities (1, C).

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if torch cannot express the model.
        PackageError: if a package is missing.
    """
    onnx.need()
    net, record = bundles.load(bundle, trust)
    proto = onnx.convert(net, record)
    _prepend(proto, fitting(record.preprocess))
    onnx.describe(proto, {**pixels.metadata(record), "full_preprocess": "true"})
    return runs.atomic_write(target, lambda path: path.write_bytes(proto.SerializeToString()))


def fitting(preprocess: Preprocess) -> Any:
    """``preprocess.fit`` as an ONNX model: ``image``, uint8 (1, H, W, 3), to ``fitted``, uint8 (1, size, size, 3)."""
    import onnx.parser

    sides = "" if preprocess.resize == "squish" else SIDES
    edge = (preprocess.resized - preprocess.size) // 2
    text = GRAPH.format(
        opset=OPSET, size=preprocess.size, resized=preprocess.resized, sides=sides,
        squared=SQUARED[preprocess.resize], centre=CENTRE.format(start=edge, stop=edge + preprocess.size),
    )  # fmt: skip
    return onnx.parser.parse_model(text)


OPSET = onnx.OPSET  # the first whose Resize can average


def _prepend(proto: Any, fitting: Any) -> None:
    """Let the graph begin with another one, whose output is its input."""
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            if name == "image":
                node.input[i] = "fitted"
    nodes = [*fitting.graph.node, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.input[0].CopyFrom(fitting.graph.input[0])
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
