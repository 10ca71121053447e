const NAMES = /swiftshader|llvmpipe|lavapipe|softpipe|basic[ -]render|\bwarp\b/i;

/** What an adapter says about itself. */
export type AdapterInfo = Pick<
  GPUAdapterInfo,
  'vendor' | 'architecture' | 'device' | 'description' | 'isFallbackAdapter'
>;

/** Whether a CPU emulates this adapter, so that its times say nothing about a GPU. */
export function isSoftware(info: AdapterInfo): boolean {
  const { vendor, architecture, device, description } = info;
  return info.isFallbackAdapter || NAMES.test([vendor, architecture, device, description].join(' '));
}
