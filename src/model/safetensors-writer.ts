/** Writes safetensors files (`safetensors.ts` tells the format): checkpoints, adapters, models that were made here. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { Memory3Error } from '../errors.ts';
import { longestHeader } from './safetensors.ts';

/** A tensor to write: f32 values, stored as they are or rounded to 16 bits. */
export interface TensorToWrite {
  readonly shape: readonly number[];
  readonly data: Float32Array;
  /** Default F32. */
  readonly dtype?: 'F32' | 'F16';
}

/** A tensor of bytes to write: codes. */
export interface BytesToWrite {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  readonly dtype: 'U8';
}

const bytesPerElement = { F32: 4, F16: 2, U8: 1 } as const;

/** The header is padded to a multiple of this with spaces, so that tensors are aligned. */
const alignment = 8;

/**
 * Writes a file whole or not at all: beside its place first, synchronised, then renamed.
 * @param metadata kept in the header's "__metadata__"
 * @throws Memory3Error "disk" if it cannot be written; what stood at `path` before is still there then.
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite | BytesToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const header: Record<string, unknown> = Object.keys(metadata).length === 0 ? {} : { __metadata__: metadata };
  let position = 0;
  for (const [name, { shape, data, dtype = 'F32' }] of tensors) {
    const bytes = data.length * bytesPerElement[dtype];
    if (shape.reduce((product, length) => product * length, 1) !== data.length) {
      throw new Error(`${name} has ${data.length} values, which is not its shape [${shape}]`);
    }
    header[name] = { dtype, shape, data_offsets: [position, position + bytes] };
    position += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(text.length / alignment) * alignment, ' ');
  padded.set(text);
  if (padded.length > longestHeader) {
    throw new Error(
      `The header of ${path} would have ${padded.length} bytes: nobody reads more than ${longestHeader}.`,
    );
  }
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const unfinished = `${path}.${process.pid}.unfinished`;
  try {
    const file = openSync(unfinished, 'w');
    try {
      writeAll(file, length);
      writeAll(file, padded);
      for (const { data, dtype } of tensors.values()) {
        writeAll(file, bytesOf(dtype === 'F16' ? new Float16Array(data) : data));
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
  } catch (cause) {
    rmSync(unfinished, { force: true });
    throw new Memory3Error('disk', `${path} cannot be written.`, {
      remedy: 'Check that its folder exists, may be written to, and has space left.',
      cause,
    });
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  // One call writes at most 2 GB, and may write less than it was given.
  for (let written = 0; written < bytes.length; ) {
    written += writeSync(file, bytes, written, Math.min(bytes.length - written, 1 << 30));
  }
}

function bytesOf(data: Float32Array | Float16Array | Uint8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
