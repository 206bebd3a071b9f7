/** Model files that are as expensive to refuse, or to accept, as their author could make them. */
import { arrayField, concat, ggufBytes, string, u32, u64, valueType } from '../support/gguf-bytes.ts';

const megabyte = 1024 * 1024;

/** File name, and what makes its bytes. */
export const hostileFiles: readonly (readonly [name: string, bytes: () => Uint8Array])[] = [
  ['many-strings.gguf', () => strings(870_000, 9)],
  [
    'many-empty-arrays.gguf',
    () => ggufBytes({ fields: [arrayField('x', valueType.array, 520_000, emptyArrays(520_000))] }),
  ],
  [
    'many-arrays-of-one.gguf',
    () => ggufBytes({ fields: [arrayField('x', valueType.array, 470_000, arraysOfOne(470_000))] }),
  ],
  [
    'many-bigints.gguf',
    () => ggufBytes({ fields: [arrayField('x', valueType.u64, 1_300_000, new Uint8Array(10_400_000).fill(255))] }),
  ],
  ['long-strings.gguf', () => ggufBytes({ fields: Array.from({ length: 16 }, (_, i) => longString(`x${i}`)) })],
  [
    'many-keys.gguf',
    () => ggufBytes({ fields: Array.from({ length: 65_536 }, (_, i) => flag(`${'k'.repeat(400)}${i}`)) }),
  ],
  ['many-tensors.gguf', manyTensors],
  [
    'no-end-of-strings.gguf',
    () => ggufBytes({ fields: [arrayField('x', valueType.string, 870_000, new Uint8Array(24 * megabyte))] }),
  ],
  ['many-tensors.safetensors', () => safetensors(entries(20_000))],
  ['many-keys.safetensors', () => safetensors(`{${Array.from({ length: 130_000 }, (_, i) => `"${i}":0`).join()}}`)],
  ['many-objects.safetensors', () => safetensors(`{"x":[${'{},'.repeat(60_000)}{}]}`)],
  ['deep.safetensors', () => safetensors(`{"x":${'['.repeat(4_000_000)}`)],
  ['long-string.safetensors', () => safetensors(`{"${'é'.repeat(3_900_000)}":0}`)],
  ['escapes.safetensors', () => safetensors(`{"${'\\u0061'.repeat(1_300_000)}":0}`)],
];

function strings(count: number, length: number, letter = 's'): Uint8Array {
  const texts = Array.from({ length: count }, (_, i) => letter + i.toString(36).padStart(length - 1, '0'));
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + 8 + Buffer.byteLength(text), 0));
  const view = new DataView(bytes.buffer);
  const encoder = new TextEncoder();
  let at = 0;
  for (const text of texts) {
    const { written } = encoder.encodeInto(text, bytes.subarray(at + 8));
    view.setUint32(at, written, true);
    at += 8 + written;
  }
  return ggufBytes({ fields: [arrayField('x', valueType.string, count, bytes)] });
}

function emptyArrays(count: number): Uint8Array {
  return new Uint8Array(12 * count);
}

function arraysOfOne(count: number): Uint8Array {
  const one = concat(u32(valueType.u8), u64(1), Uint8Array.of(7));
  return new Uint8Array(one.length * count).map((_, i) => one[i % one.length] as number);
}

function longString(key: string) {
  return { key, type: valueType.string, bytes: string('é'.repeat(2 * megabyte - 1)) };
}

function flag(key: string) {
  return { key, type: valueType.bool, bytes: Uint8Array.of(1) };
}

function manyTensors(): Uint8Array {
  const tensors = Array.from({ length: 65_536 }, (_, i) => ({
    name: `${'t'.repeat(56)}${i}`,
    shape: [8],
    type: 0,
    offset: i * 32,
  }));
  return ggufBytes({ tensors, data: new Uint8Array(65_536 * 32) });
}

function entries(count: number): string {
  return `{${Array.from({ length: count }, (_, i) => `"tensor${i}":{"dtype":"F32","shape":[1,1],"data_offsets":[${4 * i},${4 * i + 4}]}`).join()}}`;
}

function safetensors(header: string): Uint8Array {
  const bytes = Buffer.from(header);
  return concat(u64(bytes.length), bytes, new Uint8Array(80_000));
}
