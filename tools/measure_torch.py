"""Times kernels with PyTorch for `epsim calibrate measure --backend torch`, on a CUDA GPU or on the CPU.

Speaks JSON, one message a line. First it says what it is:

    {"device": {...}, "software": {...}, "products": {"fused": [dtype, ...], "loop": [...]}}

or {"missing": why} where PyTorch can't be imported. Then it reads {"case": ..., "effort": ...} and answers
{"row": ...}, {"refusal": why the device can't time the case} or {"error": what went wrong}, until its input
ends. Cases and rows are those of src/calibration/measurements.ts.
"""

import json
import os
import signal
import sys


def protocol_stream():
    """Standard output for messages alone: what libraries print there goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return stream


def answer(bench, request):
    """The message that answers a request."""
    import torch

    try:
        return {"row": bench.time(request["case"], request["effort"])}
    except RuntimeError as error:
        # torch.cuda.OutOfMemoryError is one, and so is the CPU allocator's; neither exists in all versions.
        text = str(error)
        if "out of memory" in text or "can't allocate memory" in text:
            return {"refusal": "needs more memory than the device has free"}
        return {"error": f"{type(error).__name__}: {text}"}
    except Exception as error:  # whatever it is, other cases may work
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        if torch.cuda.is_available():
            try:
                torch.cuda.empty_cache()
            except RuntimeError:
                pass  # the device is lost; `still_works` finds that out


def main():
    # An interrupt from the keyboard reaches this process too; it is the caller's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = protocol_stream()

    def say(message):
        out.write(json.dumps(message, allow_nan=False) + "\n")
        out.flush()

    try:
        import torch  # noqa: F401
    except ImportError as error:
        say({"missing": str(error)})
        return 1

    from torch_backend.bench import Bench

    bench = Bench()
    say(bench.describe())
    for line in sys.stdin:
        say(answer(bench, json.loads(line)))
        if not bench.device.still_works():
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
