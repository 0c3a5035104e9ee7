"""What one runtime answers to images, on its own: Python 3.8 or newer, numpy, and the runtime are all that it needs.

    python answer.py RUNTIME MODEL.onnx IMAGES.npy [MODEL.onnx IMAGES.npy …]

In: uint8 images (N,H,W,3). Out: a line of JSON on stdout for each model: runtime with its version; machine; ms an
image on one thread, the least, since what it takes longer is other work's; classes, (N,) or (N,H,W), the largest
logit's index; refusal, the error where there is one. Exit status 3: this Python lacks the runtime.
benchmarks/devices.py runs it, in other Pythons and on emulated processors.
"""

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def in_onnxruntime(onnxruntime, path, shape):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["logits"], {"image": image})[0]


def in_openvino(openvino, path, shape):
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda image: request.infer({0: image})[0].copy()


def in_opencv(cv2, path, shape):
    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(path)

    def run(image):
        net.setInput(image)
        return net.forward()

    return run


def in_tract(tract, path, shape):
    model = tract.onnx().load(path)
    model.set_input_fact(0, ",".join([*map(str, shape), "u8"]))
    runnable = model.into_model().into_runnable()
    return lambda image: runnable.run([image])[0].to_numpy()


def in_ncnn(ncnn, path, shape):
    """Converted by pnnx, of whose package the program alone is used: the rest imports torch."""
    package = importlib.util.find_spec("pnnx")
    if package is None:
        raise ImportError("pnnx is missing, which converts for ncnn: pip install pnnx")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        program = Path(shutil.copy(Path(package.origin).with_name("pnnx"), folder))
        program.chmod(0o755)
        shutil.copy(path, folder / "a.onnx")
        subprocess.run([program, "a.onnx", f"inputshape=[{','.join(map(str, shape))}]u8"], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        graph = folder / "a.ncnn.param"
        # Its arrays are float from the start, and it has no operator that would make them so.
        graph.write_text(graph.read_text().replace("Tensor.to ", "Noop "))
        net = ncnn.Net()
        net.opt.num_threads = 1
        if net.load_param(str(graph)) or net.load_model(str(folder / "a.ncnn.bin")):
            raise ValueError("ncnn lacks an operator of it")

    def run(image):
        pixels, extractor = image[0].astype(np.float32), net.create_extractor()  # a Mat owns no memory
        extractor.input("in0", ncnn.Mat(pixels))
        return np.array(extractor.extract("out0")[1])[None]

    return run


# name: the module to import, and (module, path, shape of an image (1,H,W,3)) → (image → logits (1,C,*S))
RUNTIMES = {"onnxruntime": ("onnxruntime", in_onnxruntime), "openvino": ("openvino", in_openvino),
            "opencv": ("cv2", in_opencv), "tract": ("tract", in_tract), "ncnn": ("ncnn", in_ncnn)}


def main(name, *pairs):
    module, opened = RUNTIMES[name]
    try:
        module = importlib.import_module(module)
    except ImportError:
        sys.exit(3)
    version = (getattr(module, "__version__", None) or module.version()).split("-")[0]
    for path, images in zip(*[iter(pairs)] * 2):  # noqa: B905 (Python 3.8 has no strict)
        told = {"runtime": f"{name} {version}", "machine": platform.machine(), "classes": [], "ms": 0.0, "refusal": ""}
        try:
            told["classes"], told["ms"] = answers(opened, module, path, np.load(images))
        except Exception as error:  # runtimes' own classes share no base but this one
            told["refusal"] = " ".join(str(error).split()) or type(error).__name__
        print(json.dumps(told), flush=True)


def answers(opened, module, path, images):
    """The classes, and the ms an image."""
    answer, classes, seconds = opened(module, path, (1, *images.shape[1:])), [], []
    for row in range(len(images)):
        image = np.ascontiguousarray(images[row:row + 1])
        start = time.perf_counter()
        logits = np.asarray(answer(image))
        seconds.append(time.perf_counter() - start)
        classes.append(logits[0].argmax(0).tolist())
    return classes, 1e3 * min(seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
