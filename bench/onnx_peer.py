"""Times classification with ONNX Runtime, as `reference.py infer` would report it.

The network is the reference's, exported.

    python3 bench/onnx_peer.py REFERENCE.py --width 64 --batch 32 --threads 2 --iters 15

Needs torch, onnx and onnxruntime (PyPI).
"""
import argparse, importlib.util, io, json, resource, time
import numpy as np
import onnxruntime as ort
import torch

p = argparse.ArgumentParser()
p.add_argument("reference")
p.add_argument("--width", type=int, default=64)
p.add_argument("--batch", type=int, default=32)
p.add_argument("--threads", type=int, default=2)
p.add_argument("--iters", type=int, default=15)
a = p.parse_args()
spec = importlib.util.spec_from_file_location("reference", a.reference)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

setting = argparse.Namespace(
    image=(3, 32, 32), width=a.width, classes=10, batch=a.batch, blocks=[2, 2, 2, 2],
    blind=False, norm="group", norm_epsilon=1e-5, seed=0, sigma_data=0.5)
net, x, labels, eps, sigma = reference.build(setting)
y = x + sigma[:, None, None, None] * eps
macs = reference.conv_macs(net, y, sigma)


class Classify(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net

    def forward(self, y, sigma):
        c_in = (sigma**2 + setting.sigma_data**2).rsqrt()[:, None, None, None]
        return self.net(c_in * y, sigma)[0].softmax(1)


with torch.inference_mode():
    expected = reference.joint_log_prob(net, y, sigma, setting.sigma_data)[1].softmax(1)
file = io.BytesIO()
torch.onnx.export(
    Classify().eval(), (y, sigma), file, input_names=["y", "sigma"], opset_version=17, dynamo=False)
options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = a.threads, 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
session = ort.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
feed = {"y": y.detach().numpy(), "sigma": sigma.detach().numpy()}
found = session.run(None, feed)[0]
assert np.abs(found - expected.numpy()).max() < 1e-4, "the exported network computes something else"
seconds = reference.median_seconds(lambda: session.run(None, feed), a.iters, warmup=5)
print(json.dumps(dict(
    peer=f"onnxruntime-{ort.__version__}", mode="onnx", dtype="f32", batch=a.batch, width=a.width,
    median_seconds=seconds, images_per_second=a.batch / seconds, conv_gflop=2e-9 * macs,
    achieved_gflops=2e-9 * macs / seconds,
    peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))
