/** Writes GGUF files byte by byte, so that tests can make them wrong in one place. */

/** Value types by name, as GGUF numbers them. */
export const valueType = { u8: 0, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 } as const;

/** One key: its value's type number and bytes. */
export interface Field {
  readonly key: string;
  readonly type: number;
  readonly bytes: Uint8Array;
}

export interface TensorEntry {
  readonly name: string;
  /** Row-major. */
  readonly shape: readonly (number | bigint)[];
  readonly type: number;
  readonly offset: number | bigint;
}

export interface GgufParts {
  readonly magic?: string;
  readonly version?: number;
  readonly keyCount?: number | bigint;
  readonly tensorCount?: number | bigint;
  readonly fields?: readonly Field[];
  readonly tensors?: readonly TensorEntry[];
  /** Tensor data, placed after padding to 32 bytes. */
  readonly data?: Uint8Array;
}

export function ggufBytes(parts: GgufParts): Uint8Array {
  const { fields = [], tensors = [], data = new Uint8Array(0) } = parts;
  const header = joined([
    Buffer.from(parts.magic ?? 'GGUF', 'latin1'),
    u32(parts.version ?? 3),
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.keyCount ?? fields.length),
    ...fields.flatMap(({ key, type, bytes }) => [string(key), u32(type), bytes]),
    ...tensors.flatMap(({ name, shape, type, offset }) => [
      string(name),
      u32(shape.length),
      ...[...shape].reverse().map(u64),
      u32(type),
      u64(offset),
    ]),
  ]);
  return concat(header, new Uint8Array((32 - (header.length % 32)) % 32), data);
}

export function textField(key: string, value: string): Field {
  return { key, type: valueType.string, bytes: string(value) };
}

export function integerField(key: string, value: number): Field {
  return { key, type: valueType.u32, bytes: u32(value) };
}

/** An array whose declared length need not be true. */
export function arrayField(key: string, elementType: number, length: number | bigint, bytes: Uint8Array): Field {
  return { key, type: valueType.array, bytes: concat(u32(elementType), u64(length), bytes) };
}

export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

export function u64(value: number | bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}

/** With a length of its own choice. */
export function string(value: string | Uint8Array, length?: number | bigint): Uint8Array {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return concat(u64(length ?? bytes.length), bytes);
}

/** `concat` of very many parts. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return joined(parts);
}
