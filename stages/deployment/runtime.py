"""onnxruntime on the CPU, as everything here runs it, predict.py too."""


def session(model, threads: int, exact: bool = False):
    """An onnxruntime.InferenceSession. model: a file's path, or its bytes.

    exact: int8 sums never saturate on x86, at 1.3 to 4 times the time there.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors only
    # Waiting threads would otherwise spin, and take the cores from the next model that is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
