import type { Link } from './profile.js';

/** Seconds before the bytes of a message flow: the latency of its link and the ramp of its size. */
export function linkDelay(link: Link, bytes: number): number {
  return link.latencySeconds + link.rampSecondsPerRootByte * Math.sqrt(bytes);
}

/** Seconds of a message of `bytes` that has a port to itself. */
export function linkSeconds(link: Link, bytes: number): number {
  return linkDelay(link, bytes) + bytes / link.bytesPerSecond;
}
