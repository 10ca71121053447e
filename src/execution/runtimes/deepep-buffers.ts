/** Sizes of DeepEP's static communication buffers, bytes per GPU (deepseek-ai/DeepEP @ 030cdf0, csrc/config.hpp). */

const ALIGNMENT = 128;

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/**
 * Buffers of the low-latency kernels: twice (even and odd calls) a message for every token of a send buffer, and for
 * every slot and token of the receive buffer, each as large as the larger of dispatch and combine; flags by slot.
 * The skew of the load changes nothing; every slot beyond the experts does.
 *
 * @param slots physical experts of all GPUs, redundant ones included
 * @param maxTokens tokens per GPU that the buffers hold
 */
export function lowLatencyBufferBytes(hiddenSize: number, slots: number, maxTokens: number): number {
  const scales = Math.floor(hiddenSize / 128);
  const dispatched = 16 + Math.max(2 * hiddenSize, hiddenSize + 4 * scales);
  const combined = 4 * scales + 2 * hiddenSize;
  const send = Math.max(maxTokens * dispatched, slots * maxTokens * combined);
  const receive = Math.max(slots * maxTokens * dispatched, slots * maxTokens * combined);
  return 2 * (send + receive + aligned(4 * slots));
}

/** Entries per token that the normal kernels' rings have room for, whatever the model: choices, and scales. */
const MOST_CHOICES = 128;
const MOST_SCALES = 128;
/** Where a token came from: its node, and GPUs of the node that want it. */
const SOURCE_BYTES = 8;
/** An int64 id and a float weight per choice. */
const CHOICE_BYTES = 8 + 4;

/** Tokens that the normal kernels' rings hold, by GPUs (deepseek-ai/DeepEP @ 04b06f7, deep_ep/buffer.py). */
const NVLINK_RING_TOKENS: readonly (readonly [gpus: number, tokens: number])[] = [
  [8, 256],
  [64, 288],
  [128, 560],
  [Infinity, 720],
];
const RDMA_RING_TOKENS = 128;

/**
 * Rings of the normal kernels, through which tokens pass in chunks: by NVLink from every GPU of the node, by RDMA
 * from every node (and to it). Received tokens go on to buffers that follow the load.
 *
 * @param sms multiprocessors that the kernels take; two make a channel
 */
export function normalBufferBytes(
  hiddenSize: number,
  gpus: number,
  gpusPerNode: number,
  sms: number,
): number {
  const nodes = gpus / gpusPerNode;
  const channels = sms / 2;
  const perToken =
    2 * hiddenSize +
    SOURCE_BYTES +
    MOST_CHOICES * CHOICE_BYTES +
    MOST_SCALES * Float32Array.BYTES_PER_ELEMENT;
  const [, nvlinkTokens] = NVLINK_RING_TOKENS.find(([most]) => gpus <= most)!;
  const nvlink = channels * gpusPerNode * (4 * (2 * nodes + 3) + nvlinkTokens * perToken);
  if (nodes === 1) return aligned(nvlink);
  const rdma =
    channels * nodes * 2 * (4 * (2 * gpusPerNode + 2) + RDMA_RING_TOKENS * (perToken + 16)) + 2 ** 20;
  return aligned(nvlink) + aligned(rdma);
}
