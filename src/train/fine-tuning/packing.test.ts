import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type PackableSample, type PackedWindow, type PackingOptions, packSamples } from './packing.ts';

/** A sample whose tokens tell which sample and which place they are from. */
function sampleOf(number: number, length: number): PackableSample {
  return {
    tokens: Int32Array.from({ length }, (_, i) => number * 1000 + i),
    weights: Float32Array.from({ length }, (_, i) => (i === 0 ? 0 : 1 + number + i / 256)),
  };
}

async function pack(samples: readonly PackableSample[], options: PackingOptions): Promise<PackedWindow[]> {
  return Array.fromAsync(packSamples(samples, options));
}

const packing = fc.record({
  lengths: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 }),
  chunks: fc.integer({ min: 1, max: 8 }),
  alignment: fc.integer({ min: 1, max: 8 }),
  window: fc.integer({ min: 1, max: 20 }),
});

describe('packSamples', () => {
  it('loses nothing, splits nothing, and tells where everything is', async () => {
    await fc.assert(
      fc.asyncProperty(packing, async ({ lengths, chunks, alignment, window }) => {
        const length = Math.max(2, chunks) * alignment;
        const samples = lengths.map((count, number) => sampleOf(number, count));
        const windows = await pack(samples, { length, alignment, window, paddingToken: 7 });
        const isLong = (number: number) => (lengths[number] as number) > length;
        const long = lengths.flatMap((_, number) => (isLong(number) ? [number] : []));
        assert.deepEqual(
          windows.flatMap(({ leftOut }) => leftOut),
          long,
        );
        const found = new Map<number, { tokens: number[]; weights: number[] }>();
        for (const { sequences } of windows) {
          for (const { tokens, weights, segment, segments } of sequences) {
            assert.ok(segments.length > 0);
            const owned = new Set<number>();
            for (const [index, { sample, start, length: count }] of segments.entries()) {
              assert.equal(start % alignment, 0);
              assert.ok(start + count <= length && !found.has(sample));
              found.set(sample, {
                tokens: [...tokens.subarray(start, start + count)],
                weights: [...weights.subarray(start, start + count)],
              });
              for (let i = 0; i < count; i++) {
                assert.equal(segment[start + i], index);
                owned.add(start + i);
              }
            }
            for (let i = 0; i < length; i++) {
              if (owned.has(i)) continue;
              assert.deepEqual([tokens[i], segment[i], weights[i]], [7, -1, 0]);
            }
          }
        }
        for (const [number, { tokens, weights }] of samples.entries()) {
          if (isLong(number)) assert.ok(!found.has(number));
          else assert.deepEqual(found.get(number), { tokens: [...tokens], weights: [...weights] });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is the same for a stream, and every time', async () => {
    const samples = [30, 5, 5, 17, 30, 2, 9, 9, 9].map((count, number) => sampleOf(number, count));
    async function* stream() {
      yield* samples;
    }
    const options = { length: 32, window: 4 };
    const first = await pack(samples, options);
    assert.deepEqual(await Array.fromAsync(packSamples(stream(), options)), first);
    assert.equal(first.length, 3);
  });

  it('puts the longest first, each where there is room', async () => {
    const samples = [4, 7, 3, 6, 10].map((count, number) => sampleOf(number, count));
    const [window] = await pack(samples, { length: 10 });
    const order = window?.sequences.map(({ segments }) => segments.map(({ sample }) => sample));
    assert.deepEqual(order, [[4], [1, 2], [3, 0]]);
  });

  it('refuses options out of bounds, and a loss on a first token', async () => {
    await assert.rejects(pack([], { length: 100, alignment: 64 }), {
      code: 'usage',
      message: /multiple of the alignment/,
    });
    await assert.rejects(pack([], { length: 1 }), { code: 'usage' });
    await assert.rejects(pack([{ tokens: Int32Array.of(1), weights: Float32Array.of(1) }], { length: 4 }), /sample 0/);
  });
});
