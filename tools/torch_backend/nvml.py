"""Clocks and power from the NVIDIA driver's own library, which needs no Python package."""

import ctypes

CLOCK_SM = 1  # NVML_CLOCK_SM


class Nvml:
    """One GPU, as NVML sees it. Everything is None where there is no NVML or it doesn't know the value."""

    def __init__(self, uuid):
        """:param uuid: as in GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx; None: the only GPU, where there is one"""
        self.library = None
        self.handle = ctypes.c_void_p()
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return
        if library.nvmlInit_v2() != 0:
            return
        if uuid is not None:
            status = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self.handle))
        elif count_gpus(library) == 1:
            status = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(0), ctypes.byref(self.handle))
        else:
            return
        if status == 0:
            self.library = library

    def driver_version(self):
        if self.library is None:
            return None
        text = ctypes.create_string_buffer(96)
        status = self.library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text)))
        return text.value.decode() if status == 0 else None

    def clock_mhz(self):
        """The clock of the streaming multiprocessors."""
        if self.library is None:
            return None
        value = ctypes.c_uint()
        status = self.library.nvmlDeviceGetClockInfo(
            self.handle, ctypes.c_int(CLOCK_SM), ctypes.byref(value)
        )
        return value.value if status == 0 else None

    def power_watts(self):
        """Power of the whole board; on recent GPUs a mean over the last second."""
        if self.library is None:
            return None
        value = ctypes.c_uint()
        status = self.library.nvmlDeviceGetPowerUsage(self.handle, ctypes.byref(value))
        return value.value / 1000 if status == 0 else None


def count_gpus(library):
    count = ctypes.c_uint()
    return count.value if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 else 0
