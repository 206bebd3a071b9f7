/**
 * From the logits of the next token to one token id.
 *
 * The steps, in this order (each on what the step before has left over):
 *   1. repetition penalty   logit / penalty if positive, logit * penalty if negative, for every token of `history`
 *                           (Keskar et al. 2019, CTRL, section 4.1)
 *   2. temperature          logit / temperature; 0 means greedy: the largest logit, of equals the lower id, and done
 *   3. top-k                the k largest
 *   4. top-p                the fewest most probable tokens that have at least p of the probability (Holtzman et al. 2020)
 *   5. min-p                those at least minP times as probable as the most probable one
 *   6. one draw from what is left, in proportion to exp(logit / temperature)
 *
 * A vocabulary has 50 000 to 150 000 entries and the answer is needed once a token, so nothing here sorts it. Greedy
 * is one scan. Top-k keeps a heap of k candidates. Top-p without top-k sorts only tokens of probability
 * >= (1 - p) / vocabulary: all the others together have less than 1 - p, so the nucleus never needs them.
 */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';

export const samplingSchema = z.strictObject({
  /** 0 is greedy: the same text every time. */
  temperature: z.number().min(0).max(10).default(0),
  /** Draw among this many most probable tokens; 0 is no limit. */
  topK: z.int().min(0).default(40),
  /** Draw among the most probable tokens that together have this much probability; 1 is no limit. */
  topP: z.number().gt(0).max(1).default(0.95),
  /** Leave out tokens less probable than this times the most probable one; 0 is no limit. */
  minP: z.number().min(0).max(1).default(0.05),
  /** Above 1, tokens that have been seen become less likely; 1 changes nothing. */
  repetitionPenalty: z.number().gt(0).max(10).default(1),
  /** The same seed, model, prompt and options give the same text; null takes a new seed every time. */
  seed: z.int().min(0).max(0xffff_ffff).nullable().default(null),
});
export type SamplingOptions = z.infer<typeof samplingSchema>;

/** A source of numbers, uniform over [0, 1). */
export type Random = () => number;

/**
 * A small seeded generator: sfc32 (Chris Doty-Humphrey's "small fast counting", part of PractRand): 128 bits of
 * state, one of them a counter, so no seed has a short cycle. Two 32-bit outputs make the 53 bits of one number.
 *
 * @param seed an integer of 32 bits; null takes one from the operating system.
 */
export function seededRandom(seed: number | null): Random {
  let a = 0;
  let b = 0;
  let c = seed ?? (crypto.getRandomValues(new Uint32Array(1))[0] as number);
  let counter = 1;
  const next = (): number => {
    const result = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  for (let round = 0; round < 12; round += 1) next();
  return () => ((next() >>> 5) * 0x400_0000 + (next() >>> 6)) / 0x20_0000_0000_0000;
}

/**
 * Chooses the next token.
 *
 * @param logits one number per vocabulary entry, `[vocabulary]`; unchanged when the call returns. -Infinity bars a token.
 * @param history the tokens that the repetition penalty looks at, in any order; duplicates count once.
 * @returns a token id.
 * @throws Memory3Error "unsupported" if no logit is a finite number: the model's computation has overflowed.
 * @example sample(logits, samplingSchema.parse({ temperature: 0.7 }), seededRandom(1), answer)
 */
export function sample(
  logits: Float32Array,
  options: SamplingOptions,
  random: Random,
  history: Iterable<number>,
): number {
  if (options.repetitionPenalty === 1) return choose(logits, options, random);
  // The few penalised logits are written in place and put back, which is cheaper than copying the vocabulary.
  const originals = penalise(logits, options.repetitionPenalty, history);
  try {
    return choose(logits, options, random);
  } finally {
    for (const [id, logit] of originals) logits[id] = logit;
  }
}

function penalise(logits: Float32Array, penalty: number, history: Iterable<number>): Map<number, number> {
  const originals = new Map<number, number>();
  for (const id of history) {
    const logit = logits[id];
    if (logit === undefined || originals.has(id)) continue;
    originals.set(id, logit);
    logits[id] = logit > 0 ? logit / penalty : logit * penalty;
  }
  return originals;
}

function choose(logits: Float32Array, options: SamplingOptions, random: Random): number {
  const { temperature, topK, topP, minP } = options;
  const best = largest(logits);
  if (temperature === 0 || topK === 1) return best;
  const maximum = logits[best] as number;
  const weight = (id: number): number => Math.exp(((logits[id] as number) - maximum) / temperature);

  let ids: number[];
  if (topK > 0 && topK < logits.length) ids = largestOnes(logits, topK);
  else if (topP < 1) ids = nucleusCandidates(logits, maximum, temperature, topP);
  else ids = atLeast(logits, minP === 0 ? -Infinity : maximum + temperature * Math.log(minP));
  let weights = ids.map(weight);

  if (topP < 1) {
    const total =
      topK > 0 && topK < logits.length
        ? weights.reduce((sum, value) => sum + value, 0)
        : totalWeight(logits, maximum, temperature);
    let mass = 0;
    let kept = 0;
    while (kept < weights.length && mass < topP * total) mass += weights[kept++] as number;
    weights = weights.slice(0, Math.max(kept, 1));
  }
  // Ids whose weight fell to zero can't be drawn: the sum below never stops on them.
  if (minP > 0) weights = weights.map((value) => (value >= minP ? value : 0));

  let rest = random() * weights.reduce((sum, value) => sum + value, 0);
  for (const [index, value] of weights.entries()) {
    rest -= value;
    if (rest < 0) return ids[index] as number;
  }
  return best; // rounding has left nothing over
}

/** The largest logit's id; of equals the lower. */
function largest(logits: Float32Array): number {
  let best = -1;
  let maximum = -Infinity;
  for (let id = 0; id < logits.length; id += 1) {
    if ((logits[id] as number) > maximum) {
      maximum = logits[id] as number;
      best = id;
    }
  }
  if (best < 0 || maximum === Infinity)
    throw new Memory3Error('unsupported', `None of the ${logits.length} logits of the next token can be used.`, {
      remedy: 'The computation overflowed. Try --device cpu; if it stays, the model file may be damaged.',
    });
  return best;
}

/** Ids of the `count` largest logits, largest first; of equals the lower id first. */
function largestOnes(logits: Float32Array, count: number): number[] {
  // A binary heap with the least of the chosen on top: most of the vocabulary is compared with it once and left.
  const heap: number[] = [];
  const worse = (first: number, second: number): boolean => {
    const difference = (logits[first] as number) - (logits[second] as number);
    return difference < 0 || (difference === 0 && first > second);
  };
  const siftDown = (): void => {
    let parent = 0;
    for (;;) {
      const left = 2 * parent + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const child = right < heap.length && worse(heap[right] as number, heap[left] as number) ? right : left;
      if (!worse(heap[child] as number, heap[parent] as number)) return;
      [heap[child], heap[parent]] = [heap[parent] as number, heap[child] as number];
      parent = child;
    }
  };
  let threshold = -Infinity;
  for (let id = 0; id < logits.length; id += 1) {
    const logit = logits[id] as number;
    // Ids come in ascending order, so an equal of the least chosen one is always the worse.
    if (!(logit > threshold)) continue;
    if (heap.length < count) {
      heap.push(id);
      for (let child = heap.length - 1; child > 0; ) {
        const parent = (child - 1) >> 1;
        if (!worse(heap[child] as number, heap[parent] as number)) break;
        [heap[child], heap[parent]] = [heap[parent] as number, heap[child] as number];
        child = parent;
      }
    } else {
      heap[0] = id;
      siftDown();
    }
    if (heap.length === count) threshold = logits[heap[0] as number] as number;
  }
  return heap.sort((first, second) => (worse(first, second) ? 1 : -1));
}

/** Ids that top-p may need, most probable first; see the head of this file for why these are enough. */
function nucleusCandidates(logits: Float32Array, maximum: number, temperature: number, topP: number): number[] {
  const total = totalWeight(logits, maximum, temperature);
  const ids = atLeast(logits, maximum + temperature * Math.log(((1 - topP) * total) / logits.length));
  return ids.sort((first, second) => (logits[second] as number) - (logits[first] as number) || first - second);
}

/** Ids whose logit is at least `threshold`, ascending; never -Infinity, which bars a token. */
function atLeast(logits: Float32Array, threshold: number): number[] {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id += 1) {
    const logit = logits[id] as number;
    if (logit >= threshold && logit > -Infinity) ids.push(id);
  }
  return ids;
}

function totalWeight(logits: Float32Array, maximum: number, temperature: number): number {
  let total = 0;
  for (let id = 0; id < logits.length; id += 1) {
    const logit = logits[id] as number;
    if (logit > -Infinity) total += Math.exp((logit - maximum) / temperature);
  }
  return total;
}
