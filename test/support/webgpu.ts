/** A WebGPU device, if this machine can make one: with its graphics card, else with SwiftShader if it is installed. */
import { existsSync } from 'node:fs';
import { Memory3Error } from '../../src/errors.ts';
import { GraphBuilder } from '../../src/graph/graph.ts';
import { writeOnnx } from '../../src/graph/onnx.ts';
import { Device } from '../../src/runtime/device.ts';

const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** @returns the device, or why there is none and what to install. */
export async function openWebgpu(): Promise<Device | string> {
  // The Vulkan loader reads this once, when the process first asks for a device.
  if (process.env.VK_ICD_FILENAMES === undefined && existsSync(swiftShader)) process.env.VK_ICD_FILENAMES = swiftShader;
  const builder = new GraphBuilder('trial');
  const x = builder.input('x', 'float32', [1]);
  builder.output(builder.apply('Add', [x, x]), 'y', 'float32', [1]);
  const device = new Device({ provider: 'webgpu' });
  try {
    await device.release(await device.session(writeOnnx(builder.finish())));
    return device;
  } catch (error) {
    await device[Symbol.asyncDispose]();
    if (!(error instanceof Memory3Error && error.code === 'unsupported')) throw error;
    return error.message.replaceAll('\n', ' ');
  }
}
