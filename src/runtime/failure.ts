/** What ONNX Runtime says when something fails, turned into what went wrong and what to do about it. */
import { Memory3Error } from '../errors.ts';
import type { Command, ExecutionProvider } from './device.ts';

const outOfMemory =
  /failed to allocate memory|array buffer allocation failed|bad_alloc|out of (device )?memory|OUT_OF_MEMORY/i;
const notInThisBuild = /backend not found|not enabled in this build/i;
const unreadable = /protobuf parsing failed|invalid model|ModelProto does not have a graph/i;

const webgpuRemedy = [
  'WebGPU needs a graphics driver: on Linux one for Vulkan (Debian: apt-get install mesa-vulkan-drivers, or NVIDIA’s own).',
  'Without a graphics card SwiftShader, which comes with Chromium, computes in software: apt-get install chromium, then',
  'set VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json. Or use --device cpu.',
].join('\n');

const cudaRemedy = [
  'The npm package leaves CUDA’s part of ONNX Runtime out. It is for Linux on x64, and comes with',
  '  ONNXRUNTIME_NODE_INSTALL=true npm rebuild onnxruntime-node',
  'which downloads the NuGet package Microsoft.ML.OnnxRuntime.Gpu.Linux. Beside it, the libraries of CUDA 12 and cuDNN 9',
  'must be where the loader finds them (LD_LIBRARY_PATH), and an NVIDIA driver installed. Or use --device cpu.',
].join('\n');

/**
 * The error of a command that failed on a device.
 * @returns a Memory3Error where the machine or a file is at fault; an ordinary Error where the command was wrong, which
 * is a fault of the program.
 */
export function deviceFailure(provider: ExecutionProvider, command: Command['kind'], message: string): Error {
  const what = `The ${provider} device ${command === 'session' ? 'could not load a model' : 'failed'}`;
  const cause = new Error(message);
  if (outOfMemory.test(message)) {
    const remedy =
      'Read less at once (a shorter prompt, fewer memories; to train, smaller batches or --recompute), use a smaller model, or leave more memory to this program.';
    return new Memory3Error('unsupported', `${what}: it ran out of memory.`, { remedy, cause });
  }
  if (command === 'session' && unreadable.test(message) && !message.includes('No Op registered')) {
    return new Memory3Error('damaged', `${what}: ${message}`, { cause });
  }
  if (provider !== 'cpu') {
    if (notInThisBuild.test(message)) {
      const here = `${process.platform}-${process.arch}`;
      const remedy = 'Use --device cpu.';
      return new Memory3Error('unsupported', `ONNX Runtime has no ${provider} for ${here}.`, { remedy, cause });
    }
    if (/failed to load (shared )?library/i.test(message)) {
      const why = `${provider}’s libraries were not found or could not be loaded`;
      const remedy = provider === 'cuda' ? cudaRemedy : 'Use --device cpu.';
      return new Memory3Error('unsupported', `${what}: ${why}.`, { remedy, cause });
    }
    if (/failed to get a webgpu adapter|no supported adapters/i.test(message)) {
      return new Memory3Error('unsupported', `${what}: no graphics driver that fits was found.`, {
        remedy: webgpuRemedy,
        cause,
      });
    }
    return new Memory3Error('unsupported', `${what}: ${message}`, { remedy: 'Use --device cpu.', cause });
  }
  if (command !== 'session') return new Error(`${what}: ${message}`);
  return new Memory3Error('unsupported', `${what}: ${message}`, { cause });
}
