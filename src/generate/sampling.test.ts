import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type SamplingOptions, sample, samplingSchema, seededRandom } from './sampling.ts';

const neutral: SamplingOptions = samplingSchema.parse({ temperature: 1, topK: 0, topP: 1, minP: 0 });
const logitArrays = fc
  .array(fc.double({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 60 })
  .map((values) => Float32Array.from(values));

/** The distribution that the options describe, by sorting everything: slow and obvious. */
function expectedDistribution(logits: Float32Array, options: SamplingOptions): number[] {
  const ids = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  const weight = (id: number): number =>
    Math.exp(((logits[id] as number) - (logits[ids[0] as number] as number)) / options.temperature);
  let kept = options.topK > 0 ? ids.slice(0, options.topK) : ids;
  const total = kept.reduce((sum, id) => sum + weight(id), 0);
  let mass = 0;
  kept = kept.filter((id) => {
    const needed = mass < options.topP * total;
    mass += weight(id);
    return needed;
  });
  kept = kept.filter((id) => weight(id) >= options.minP);
  const rest = kept.reduce((sum, id) => sum + weight(id), 0);
  return [...logits.keys()].map((id) => (kept.includes(id) ? weight(id) / rest : 0));
}

test('greedy takes the largest logit, of equals the lower id, and needs no randomness', () => {
  const never = (): number => assert.fail('greedy asked for a random number');
  assert.equal(sample(Float32Array.of(1, 5, 3, 5), samplingSchema.parse({}), never, []), 1);
  fc.assert(
    fc.property(logitArrays, (logits) => {
      const id = sample(logits, samplingSchema.parse({}), never, []);
      assert.equal(id, logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
    }),
  );
});

test('the generator is uniform and its seed decides it', () => {
  const first = seededRandom(7);
  const again = seededRandom(7);
  const other = seededRandom(8);
  const buckets = new Array<number>(100).fill(0);
  let same = 0;
  for (let draw = 0; draw < 100_000; draw += 1) {
    const value = first();
    assert.equal(again(), value);
    if (other() === value) same += 1;
    assert.ok(value >= 0 && value < 1);
    const bucket = Math.floor(value * 100);
    buckets[bucket] = (buckets[bucket] as number) + 1;
  }
  assert.equal(same, 0);
  const chiSquare = buckets.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  assert.ok(chiSquare < 148.2, `chi-square ${chiSquare} with 99 degrees of freedom (p = 0.001)`);
  assert.notEqual(seededRandom(null)(), seededRandom(null)());
});

test('frequencies follow the distribution that the options describe', () => {
  const logits = Float32Array.of(2, 1.5, 1, 0.5, 0, -0.5, -1, -Infinity, -8, 1.5);
  const cases: Partial<SamplingOptions>[] = [
    {},
    { temperature: 0.5 },
    { temperature: 2 },
    { topK: 4 },
    { topP: 0.7 },
    { minP: 0.2 },
    { topK: 6, topP: 0.9, minP: 0.15, temperature: 1.3 },
    { topP: 0.99, temperature: 3 },
  ];
  for (const [seed, change] of cases.entries()) {
    const options = { ...neutral, ...change };
    const expected = expectedDistribution(logits, options);
    const random = seededRandom(seed);
    const counts = expected.map(() => 0);
    const draws = 20_000;
    for (let draw = 0; draw < draws; draw += 1) {
      const id = sample(logits, options, random, []);
      counts[id] = (counts[id] as number) + 1;
    }
    let chiSquare = 0;
    for (const [id, probability] of expected.entries()) {
      if (probability === 0) assert.equal(counts[id], 0, `token ${id} is left out by ${JSON.stringify(change)}`);
      else chiSquare += ((counts[id] as number) - draws * probability) ** 2 / (draws * probability);
    }
    assert.ok(chiSquare < 27.9, `chi-square ${chiSquare} with ${JSON.stringify(change)} (9 degrees: p = 0.001)`);
  }
});

test('only tokens of the described set are drawn, logits are left as they were, the seed decides', () => {
  const optionSets = fc.record({
    temperature: fc.double({ min: 0.1, max: 4, noNaN: true }),
    topK: fc.nat(70),
    topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
    repetitionPenalty: fc.constant(1),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(logitArrays, optionSets, (logits, options) => {
      const before = logits.slice();
      const id = sample(logits, options, seededRandom(options.seed), []);
      assert.equal(sample(logits, options, seededRandom(options.seed), []), id);
      assert.deepEqual(logits, before);
      // A set whose edge falls exactly between two tokens may round either way.
      const loose = { ...options, topP: Math.min(1, options.topP + 1e-6), minP: options.minP * (1 - 1e-6) };
      assert.ok((expectedDistribution(logits, loose)[id] as number) > 0);
    }),
    { numRuns: 500 },
  );
});

test('the repetition penalty makes seen tokens less likely and puts the logits back', () => {
  const options = samplingSchema.parse({ repetitionPenalty: 2 });
  const logits = Float32Array.of(-1, 3, 2, -1.5);
  const before = logits.slice();
  assert.equal(sample(logits, options, seededRandom(0), []), 1);
  assert.equal(sample(logits, options, seededRandom(0), [1, 1, 1]), 2, '3 / 2 < 2');
  assert.equal(sample(Float32Array.of(-1, -1.5), options, seededRandom(0), [0]), 1, '-1 * 2 < -1.5');
  assert.equal(sample(logits, options, seededRandom(0), [99]), 1, 'ids outside the vocabulary are not ours');
  assert.deepEqual(logits, before);
});

test('logits without a usable maximum are an error, not token 0', () => {
  for (const bad of [[Number.NaN, Number.NaN], [-Infinity], [Infinity, 0], []]) {
    for (const options of [samplingSchema.parse({}), neutral])
      assert.throws(() => sample(Float32Array.from(bad), options, seededRandom(0), []), { code: 'unsupported' });
  }
});

test('options outside their ranges are refused', () => {
  const bad = [{ temperature: -1 }, { topK: 1.5 }, { topP: 0 }, { topP: 1.1 }, { minP: 2 }, { seed: -1 }, { typo: 1 }];
  for (const options of bad) assert.equal(samplingSchema.safeParse(options).success, false, JSON.stringify(options));
});
