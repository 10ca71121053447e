import { spawnSync } from 'node:child_process';

/** The software driver that Debian's chromium-common brings; null where that is not installed. */
function swiftShader(): string | null {
  const { stdout } = spawnSync('dpkg', ['-L', 'chromium-common'], { encoding: 'utf8' });
  return stdout?.split('\n').find((path) => path.endsWith('/vk_swiftshader_icd.json')) ?? null;
}

/**
 * Chooses the Vulkan driver of this process, before anything loads the package webgpu: VK_DRIVER_FILES or
 * EPSIM_VULKAN_DRIVER where they are set, else SwiftShader, so that a run is the same with and without GPU.
 */
export function chooseVulkanDriver(): void {
  const driver = process.env.VK_DRIVER_FILES ?? process.env.EPSIM_VULKAN_DRIVER ?? swiftShader();
  if (driver !== null) process.env.VK_DRIVER_FILES = driver;
}
