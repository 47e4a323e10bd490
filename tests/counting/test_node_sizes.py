"""Sizes of nodes, as a person reads them from the graph."""

from onnx import parser

from edgeprof import counting

TEXT = """
<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]>
g (float[b, n, 24] x, float[b, 3, n, 8] q, float[b, 3, m, 8] past, float[1, 3, 8, 8] image) =>
  (float[b, n, 5] y, float a, float c, float s, float t, float r, float u, float v)
<float[24, 5] w, float[6, 3, 4, 4] kernel>
{
    y = MatMul(x, w)
    a, present_k, present_v = Attention(q, q, q, , past, past)
    s = MatMul(q, k)
    k = Transpose<perm = [0, 1, 3, 2]>(q)
    c = Conv<strides = [4, 4]>(image, kernel)
    t = Softmax(x)
    large = Constant<value = int64[4] {1, 3, 16, 16}>()
    r = Resize<mode = "cubic">(image, , , large)
    wide = Constant<value = int64[4] {1, 3, 8, 16}>()
    u = Resize<mode = "linear">(image, , , wide)
    same = Constant<value = int64[4] {1, 3, 8, 8}>()
    v = Resize<mode = "cubic">(image, , , same)
}
"""


def test_sizes_are_those_that_a_probe_measures() -> None:
    text = TEXT.replace("    s = MatMul(q, k)\n", "").replace("    c = Conv", "    s = MatMul(q, k)\n    c = Conv")
    text = text.replace("float[24, 5] w", "float[24, 5] w = {" + ", ".join(["1"] * 120) + "}")
    text = text.replace("float[6, 3, 4, 4] kernel", "float[6, 3, 4, 4] kernel = {" + ", ".join(["1"] * 288) + "}")
    model = parser.parse_model(text)
    shapes = {"x": (2, 7, 24), "q": (2, 3, 7, 8), "past": (2, 3, 9, 8), "image": (1, 3, 8, 8)}
    resized = [work.sizes for work in counting.by_node(model, shapes) if work.operator == "Resize"]
    assert resized == [
        {"rows": 3 * 16, "columns": 16, "taps": 4 * 4},
        {"rows": 3 * 8, "columns": 16, "taps": 2},
        {"rows": 3 * 8, "columns": 8, "taps": 1},
    ]
    found = {
        work.operator: (work.kind, work.sizes) for work in counting.by_node(model, shapes) if work.operator != "MatMul"
    }
    products = [work.sizes for work in counting.by_node(model, shapes) if work.operator == "MatMul"]
    assert products == [
        {"rows": 14, "inner": 24, "columns": 5},
        {"rows": 7, "inner": 8, "columns": 7, "matrices": 6},
    ]
    assert found["Attention"] == ("attention", {"tokens": 7, "keys": 16, "heads": 6, "head_size": 8})
    assert found["Conv"] == ("convolution", {"rows": 4, "inner": 48, "columns": 6})
    assert found["Softmax"] == ("elementwise", {"rows": 14, "columns": 24})
    assert found["Transpose"] == ("movement", {"rows": 2 * 3 * 8, "columns": 7})
