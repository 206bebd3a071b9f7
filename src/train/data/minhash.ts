/**
 * Near-duplicate texts by MinHash (Broder 1997) and locality-sensitive hashing (Indyk and Motwani 1998), as a stream.
 *
 * A text is the set of its shingles, all runs of 5 words; two texts are near duplicates if the Jaccard similarity
 * |A ∩ B| / |A ∪ B| of their sets is at least 0.8. For a random order of all shingles the probability that A and B have
 * the same first shingle is exactly that similarity. So 128 orders give a signature of 128 numbers, and the share of equal
 * numbers in two signatures estimates the similarity with a standard deviation of sqrt(s (1 - s) / 128) <= 0.045.
 *
 *   order p of a 32-bit shingle hash x:  mix((x ^ a_p) * b_p), b_p odd: a bijection, so an order of all 2^32 hashes
 *   signature[p] = the least of them over the text's shingles
 *
 * Comparing every pair is quadratic. A signature is therefore cut into bands of r numbers, and only texts that agree in a
 * whole band are compared: a pair of similarity s shares one of b bands with probability 1 - (1 - s^r)^b. r is the largest
 * for which that is at least 0.995 at the threshold: r = 6, b = 21 at 0.8.
 *
 * Held are, for each text that is kept, its signature (512 bytes) and a list entry for each band (about 200 bytes); texts
 * and shingles are not.
 */
import { z } from 'zod';
import { checkOptions } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { hashText, mix } from './hash.ts';

const optionsSchema = z.strictObject({
  /** Least Jaccard similarity of near duplicates. */
  threshold: z.number().min(0.1).max(1).default(0.8),
  /** Words in a shingle. */
  shingleWords: z.int().min(1).max(32).default(5),
  /** Numbers in a signature. */
  permutations: z.int().min(16).max(1024).default(128),
  /** Chooses the orders. */
  seed: z.int().nonnegative().default(1),
});
export type NearDuplicateOptions = z.input<typeof optionsSchema>;

/** Least probability with which a pair at the threshold is compared. */
const leastRecall = 0.995;
/** Signatures are kept in blocks of this many, so that growing copies nothing. */
const blockTexts = 4096;

/** What an earlier text was found to be. */
export interface NearDuplicate {
  /** Number of the earlier text among those that were kept, from 0. */
  readonly of: number;
  /** Estimated Jaccard similarity. */
  readonly similarity: number;
}

/** Sees texts one after another and says which nearly repeat an earlier one. */
export class NearDuplicates {
  readonly #threshold: number;
  readonly #shingleWords: number;
  readonly #hasher: MinHasher;
  readonly #rows: number;
  readonly #bands: number;
  readonly #blocks: Uint32Array[] = [];
  /** For each bucket the last entry in it, plus 1; entry = text * bands + band. */
  #heads = new Int32Array(1 << 12);
  /** For each entry the one before it in its bucket, plus 1. */
  #before = new Int32Array(1 << 12);
  #kept = 0;
  #removed = 0;

  /** @throws Memory3Error "usage" that names a wrong option. */
  constructor(options: NearDuplicateOptions = {}) {
    const { threshold, shingleWords, permutations, seed } = checkOptions(optionsSchema, options);
    this.#threshold = threshold;
    this.#shingleWords = shingleWords;
    this.#hasher = new MinHasher(permutations, seed);
    this.#rows = bandRows(threshold, permutations);
    this.#bands = Math.floor(permutations / this.#rows);
  }

  /** Texts that were kept, and those that were not. */
  get counts(): { readonly kept: number; readonly removed: number } {
    return { kept: this.#kept, removed: this.#removed };
  }

  /**
   * Keeps a text, unless it nearly repeats one that was kept before.
   * @param words the text's words in order, as `wordsOf` cuts them; case does not count
   * @returns the earlier text, or null if this one was kept
   */
  add(words: readonly string[]): NearDuplicate | null {
    const signature = this.#hasher.signature(shingleHashes(words, this.#shingleWords));
    const found = this.#find(signature);
    if (found === null) this.#keep(signature);
    else this.#removed++;
    return found;
  }

  #find(signature: Uint32Array): NearDuplicate | null {
    const compared = new Set<number>();
    for (let band = 0; band < this.#bands; band++) {
      for (let entry = this.#heads[this.#bucket(signature, band)] as number; entry > 0; ) {
        const text = Math.floor((entry - 1) / this.#bands);
        entry = this.#before[entry - 1] as number;
        if (compared.has(text)) continue;
        compared.add(text);
        const similarity = estimateSimilarity(signature, this.#signature(text));
        if (similarity >= this.#threshold) return { of: text, similarity };
      }
    }
    return null;
  }

  #keep(signature: Uint32Array): void {
    const text = this.#kept++;
    if (text % blockTexts === 0) this.#blocks.push(new Uint32Array(blockTexts * signature.length));
    this.#signature(text).set(signature);
    const entries = this.#kept * this.#bands;
    if (entries > this.#before.length) {
      this.#before = grown(this.#before);
      this.#heads = new Int32Array(this.#before.length);
      for (let earlier = 0; earlier < text; earlier++) this.#link(earlier);
    }
    this.#link(text);
  }

  #link(text: number): void {
    const signature = this.#signature(text);
    for (let band = 0; band < this.#bands; band++) {
      const bucket = this.#bucket(signature, band);
      const entry = text * this.#bands + band;
      this.#before[entry] = this.#heads[bucket] as number;
      this.#heads[bucket] = entry + 1;
    }
  }

  #signature(text: number): Uint32Array {
    const { permutations } = this.#hasher;
    const start = (text % blockTexts) * permutations;
    return (this.#blocks[Math.floor(text / blockTexts)] as Uint32Array).subarray(start, start + permutations);
  }

  #bucket(signature: Uint32Array, band: number): number {
    let hash = band;
    const start = band * this.#rows;
    for (let row = start; row < start + this.#rows; row++) hash = mix((hash ^ (signature[row] as number)) + row);
    return (hash & (this.#heads.length - 1)) >>> 0;
  }
}

/** Rows of a band: the most that compare a pair at the threshold with probability `leastRecall`. */
export function bandRows(threshold: number, permutations: number): number {
  for (let rows = permutations; rows > 1; rows--) {
    const bands = Math.floor(permutations / rows);
    if (1 - (1 - threshold ** rows) ** bands >= leastRecall) return rows;
  }
  return 1;
}

/** Makes signatures. */
export class MinHasher {
  readonly permutations: number;
  readonly #additions: Int32Array;
  readonly #factors: Int32Array;

  constructor(permutations: number, seed: number) {
    const random = seededRandom(seed);
    const number = () => Math.floor(random() * 2 ** 32);
    this.permutations = permutations;
    this.#additions = Int32Array.from({ length: permutations }, number);
    this.#factors = Int32Array.from({ length: permutations }, () => number() | 1);
  }

  /** @returns `[permutations]`; of no shingles all ones, so that texts without words repeat each other. */
  signature(shingles: Uint32Array): Uint32Array {
    const signature = new Uint32Array(this.permutations).fill(0xffff_ffff);
    for (let p = 0; p < signature.length; p++) {
      const addition = this.#additions[p] as number;
      const factor = this.#factors[p] as number;
      let least = 0xffff_ffff;
      for (let s = 0; s < shingles.length; s++) {
        const value = mix(Math.imul((shingles[s] as number) ^ addition, factor));
        if (value < least) least = value;
      }
      signature[p] = least;
    }
    return signature;
  }
}

/** Estimates the Jaccard similarity of two sets from their signatures. */
export function estimateSimilarity(a: Uint32Array, b: Uint32Array): number {
  let equal = 0;
  for (let p = 0; p < a.length; p++) if (a[p] === b[p]) equal++;
  return equal / a.length;
}

/** Hashes of all runs of `size` words (repeated where runs repeat); of fewer words, of the one run there is. */
export function shingleHashes(words: readonly string[], size: number): Uint32Array {
  const hashes = Uint32Array.from(words, (word) => hashText(word.toLowerCase()));
  const run = Math.min(size, words.length);
  if (run === 0) return new Uint32Array(0);
  return Uint32Array.from({ length: words.length - run + 1 }, (_, start) => {
    let hash = run;
    for (let i = start; i < start + run; i++) hash = mix(Math.imul(hash, 31) + (hashes[i] as number));
    return hash;
  });
}

function grown(values: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(values.length * 2);
  larger.set(values);
  return larger;
}
