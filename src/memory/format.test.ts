import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Memory3Error } from '../errors.ts';
import { decodeMemory, type ExplicitMemory, encodeMemory, memoryBytes, type Storage } from './format.ts';

/** Any memory of a small shape; values that f16 can hold as normal numbers, or zero. */
const memories: fc.Arbitrary<ExplicitMemory> = fc
  .record({
    layers: fc.integer({ min: 1, max: 3 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    kept: fc.integer({ min: 1, max: 5 }),
    headDim: fc.integer({ min: 1, max: 9 }),
  })
  .chain(({ layers, kvHeads, kept, headDim }) =>
    fc.record({
      layers: fc.constant(layers),
      kvHeads: fc.constant(kvHeads),
      kept: fc.constant(kept),
      headDim: fc.constant(headDim),
      positions: exactly(layers * kvHeads * kept, fc.integer({ min: 0, max: 127 })).map((list) =>
        Uint8Array.from(list),
      ),
      keysValues: exactly(
        layers * 2 * kvHeads * kept * headDim,
        fc.oneof(
          fc.constant(0),
          fc.double({ min: 1e-3, max: 1000, noNaN: true }),
          fc.double({ min: -1000, max: -1e-3, noNaN: true }),
        ),
      ).map((list) => Float32Array.from(list)),
    }),
  );

function exactly<T>(length: number, element: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.array(element, { minLength: length, maxLength: length });
}

const storages = fc.constantFrom<Storage>('f16', 'int8');

describe('a memory as bytes', () => {
  it('comes back: shape and positions as they were, f16 to 11 bits, int8 to half a step of each vector', () => {
    fc.assert(
      fc.property(memories, storages, (memory, storage) => {
        const bytes = encodeMemory(memory, storage);
        assert.equal(bytes.length, memoryBytes(storage, memory));
        const { keysValues, ...rest } = decodeMemory(bytes);
        const { keysValues: expected, ...shape } = memory;
        assert.deepEqual(rest, shape);
        assert.equal(keysValues.length, expected.length);
        for (const [i, value] of expected.entries()) {
          const start = i - (i % memory.headDim);
          const largest = Math.max(...expected.subarray(start, start + memory.headDim).map(Math.abs));
          const tolerance = storage === 'f16' ? Math.abs(value) * 2 ** -11 : largest * (0.5 / 127 + 2 ** -11);
          const difference = Math.abs((keysValues[i] as number) - value);
          assert.ok(difference <= tolerance * (1 + 1e-6), `${keysValues[i]} for ${value}`);
        }
      }),
    );
  });

  it('is the same after a second round: what was rounded once stays', () => {
    fc.assert(
      fc.property(memories, (memory) => {
        const bytes = encodeMemory(memory, 'f16');
        assert.deepEqual(encodeMemory(decodeMemory(bytes), 'f16'), bytes);
      }),
    );
  });

  it('reads the same from any offset of a larger buffer', () => {
    fc.assert(
      fc.property(memories, storages, fc.integer({ min: 0, max: 9 }), (memory, storage, offset) => {
        const bytes = encodeMemory(memory, storage);
        const larger = new Uint8Array(offset + bytes.length + 3).fill(0xff);
        larger.set(bytes, offset);
        assert.deepEqual(decodeMemory(larger.subarray(offset, offset + bytes.length)), decodeMemory(bytes));
      }),
    );
  });

  it('has the layout of the file format, byte by byte', () => {
    const memory: ExplicitMemory = {
      layers: 1,
      kvHeads: 1,
      kept: 3,
      headDim: 2,
      positions: Uint8Array.of(3, 64, 127),
      keysValues: Float32Array.of(1, -2, 0.5, 0, 127, -127, 0, 0, 63.5, 254, 1, 1),
    };
    // "M3EM", version, storage, layers, kv heads, kept, head dimension, 0, positions, padding.
    const start = (storage: string) => `4d33454d 01 ${storage} 0100 0100 0300 0200 0000 03407f 00`;
    const halves = '003c 00c0 0038 0000 f057 f0d7 0000 0000 f053 f05b 003c 003c';
    const scales = '0824 081c 003c 0000 0040 0820';
    const codes = '4081 7f00 7f81 0000 207f 7f7f';
    const hex = (storage: Storage) => Buffer.from(encodeMemory(memory, storage)).toString('hex');
    assert.equal(hex('f16'), `${start('00')} ${halves}`.replaceAll(' ', ''));
    assert.equal(hex('int8'), `${start('01')} ${scales} ${codes}`.replaceAll(' ', ''));
  });
});

describe('numbers that cannot be stored', () => {
  const memory: ExplicitMemory = {
    layers: 2,
    kvHeads: 3,
    kept: 2,
    headDim: 4,
    positions: Uint8Array.from({ length: 12 }, (_, i) => i),
    keysValues: Float32Array.from({ length: 96 }, (_, i) => i),
  };
  /** With `value` as the third number of a value of layer 1, head 2, token 1. */
  const holding = (value: number): ExplicitMemory => ({
    ...memory,
    keysValues: memory.keysValues.with((((1 * 2 + 1) * 3 + 2) * 2 + 1) * 4 + 2, value),
  });

  it('are named by layer and head: no numbers, infinities, and what is too large', () => {
    for (const storage of ['f16', 'int8'] as const) {
      const fine = storage === 'f16' ? 65_504 : 8e6;
      assert.equal(decodeMemory(encodeMemory(holding(fine), storage)).keysValues.every(Number.isFinite), true);
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, fine * 2]) {
        assert.throws(() => encodeMemory(holding(value), storage), {
          code: 'unsupported',
          message: /a value of its layer 1, head 2, is not finite/,
        });
      }
    }
  });
});

describe('bytes that are no memory', () => {
  const refused = (bytes: Uint8Array, message: RegExp) =>
    assert.throws(
      () => decodeMemory(bytes),
      (error) => error instanceof Memory3Error && error.code === 'damaged' && message.test(error.message),
    );

  it('are refused: cut, too long, of another kind, version, storage or shape', () => {
    fc.assert(
      fc.property(memories, storages, fc.nat(), (memory, storage, seed) => {
        const bytes = encodeMemory(memory, storage);
        refused(bytes.subarray(0, seed % bytes.length), /cannot be read/);
        refused(Uint8Array.from([...bytes, 0]), /its shape asks for \d+ bytes/);
        for (let at = 0; at < 5; at++) refused(bytes.with(at, (bytes[at] as number) ^ 1), /does not start as a memory/);
        refused(bytes.with(5, 2), /storage 2 is unknown/);
        // One more kv head, token or dimension than there are bytes for.
        for (const at of [6, 8, 10, 12]) refused(bytes.with(at, (bytes[at] as number) + 1), /its shape asks for/);
      }),
    );
    // 2^32 vectors of no dimensions: one more bit than bitwise operators look at.
    const endless = new Uint8Array(16);
    endless.set(Buffer.from('M3EM'));
    new Uint16Array(endless.buffer).set([1, 1 << 12, 1 << 12, 1 << 8, 0], 2);
    refused(endless, /its shape asks for 4294967312 bytes/);
  });

  it('never read as a memory by chance', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        refused(bytes, /An explicit memory of \d+ bytes cannot be read/);
      }),
    );
  });
});
