/**
 * References side by side, as the writer graph takes them (`graph/writer.ts`), and its outputs taken apart again. Memories
 * are written this way, and training chooses tokens this way (`train/choose-tokens.ts`).
 *
 * Each reference is a sequence of its own, padded behind to the length of the longest:
 *
 *   header | body                                        most scores
 *   header | body | "Repeat the reference:" | body       reconstruction scores
 *   header | body | summary tokens                       summary tokens, which have embeddings but no ids
 */
import { Memory3Error } from '../errors.ts';
import { neighbourhood, neighbourRows } from '../graph/answer-classifier.ts';
import { type GraphScoring, writerNames } from '../graph/writer.ts';
import type { ModelConfig } from '../model/config.ts';
import type { TensorData } from '../runtime/device.ts';
import { longestBody, type MemoryProfile, referenceTokens, summaryTokenCount } from './profile.ts';

/** Added to a score to mask it: far below any score, and finite, since some providers make NaN of infinities. */
export const masked = -1e30;

/** A reference to write. */
export interface ReferenceBody {
  /** Body token ids; header, body and summary tokens together are at most 128. */
  readonly tokens: readonly number[];
}

/** A batch ready for the writer graph; embeddings are left to who runs it. */
export interface ReferenceBatch {
  readonly scoring: GraphScoring;
  readonly references: readonly ReferenceBody[];
  /** Tokens of the header, in front of every body. */
  readonly header: number;
  /** Tokens of each sequence, padding included. */
  readonly length: number;
  /** `[references * length]`; padding and summary tokens have the id 0. */
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  /** Place of each reference's first summary token in `tokens`; empty without summary tokens. */
  readonly summaryStarts: readonly number[];
  /** Masks. */
  readonly inputs: Readonly<Record<string, TensorData>>;
}

/**
 * Lays references out.
 * @param repeatPrompt token ids of "Repeat the reference:", needed by reconstruction scores only.
 * @throws Memory3Error "too-long" if a reference exceeds 128 tokens, "usage" if a body is empty.
 */
export function referenceBatch(
  { slidingWindow }: ModelConfig,
  profile: MemoryProfile,
  references: readonly ReferenceBody[],
  repeatPrompt: readonly number[],
): ReferenceBatch {
  const { header } = profile;
  const summary = summaryTokenCount(profile);
  for (const { tokens } of references) checkBody(tokens, profile);
  const scoring = graphScoring(profile);
  const behind = new Array<number>(summary).fill(0);
  const sequences = references.map(({ tokens }) =>
    scoring === 'reconstruction'
      ? [...header, ...tokens, ...repeatPrompt, ...tokens]
      : [...header, ...tokens, ...behind],
  );
  const count = sequences.length;
  const length = Math.max(...sequences.map((sequence) => sequence.length));
  const tokens = new Int32Array(count * length);
  for (const [element, sequence] of sequences.entries()) tokens.set(sequence, element * length);
  const bias = causalBias(count, length, slidingWindow);
  return {
    scoring,
    references,
    header: header.length,
    length,
    tokens,
    positions: tokens.map((_, index) => index % length),
    summaryStarts:
      summary === 0 ? [] : references.map(({ tokens: body }, i) => i * length + header.length + body.length),
    inputs: {
      [writerNames.bias]: { type: 'float32', shape: [count, 1, length, length], data: bias },
      ...scoreInputs(scoring, header.length, references, length, repeatPrompt.length),
    },
  };
}

function checkBody(tokens: readonly number[], profile: MemoryProfile): void {
  if (tokens.length === 0) throw new Memory3Error('usage', 'A reference without tokens cannot be written.');
  if (tokens.length <= longestBody(profile)) return;
  const summary = summaryTokenCount(profile);
  const others = `its header of ${profile.header.length}`;
  throw new Memory3Error(
    'too-long',
    summary === 0
      ? `A reference of ${tokens.length} tokens and ${others} exceed ${referenceTokens} tokens.`
      : `A reference of ${tokens.length} tokens, ${others} and ${summary} summary tokens exceed ${referenceTokens} tokens.`,
  );
}

/** The scores that the writer graph computes for a profile. */
function graphScoring({ keptTokens, scoring }: MemoryProfile): GraphScoring {
  if (keptTokens === 'all' || scoring === 'random' || scoring === 'summary') return 'none';
  return scoring;
}

/**
 * Takes an output of the writer graph apart.
 * @param source `[planes * references, kvHeads, length, width]`
 * @param behind tokens behind each body that are wanted too
 * @returns for each reference `[planes, kvHeads, body + behind, width]`
 */
export function cutBodies(
  { references, length, header }: ReferenceBatch,
  source: Float32Array,
  { planes, kvHeads, width }: { readonly planes: number; readonly kvHeads: number; readonly width: number },
  behind = 0,
): Float32Array[] {
  return references.map(({ tokens }, element) => {
    const size = (tokens.length + behind) * width;
    const result = new Float32Array(planes * kvHeads * size);
    for (let plane = 0; plane < planes; plane++) {
      for (let head = 0; head < kvHeads; head++) {
        const start = (((plane * references.length + element) * kvHeads + head) * length + header) * width;
        result.set(source.subarray(start, start + size), (plane * kvHeads + head) * size);
      }
    }
    return result;
  });
}

/**
 * Causal: a token sees itself and what stands before it, as far back as a sliding window reaches. Padding stands behind
 * every real token, so it needs no mask.
 */
export function causalBias(batch: number, length: number, window: number | null): Float32Array {
  const bias = new Float32Array(batch * length * length).fill(masked);
  for (let row = 0; row < batch * length; row++) {
    const token = row % length;
    bias.fill(0, row * length + Math.max(0, token + 1 - (window ?? length)), row * length + token + 1);
  }
  return bias;
}

function scoreInputs(
  scoring: GraphScoring,
  header: number,
  references: readonly ReferenceBody[],
  length: number,
  repeatPrompt: number,
): Record<string, TensorData> {
  if (scoring === 'none') return {};
  const batch = references.length;
  const keyBias = new Float32Array(batch * length).fill(masked);
  const queryMask = new Float32Array(batch * length);
  for (const [element, { tokens }] of references.entries()) {
    const start = element * length + header;
    keyBias.fill(0, start, start + tokens.length);
    const queries = scoring === 'reconstruction' ? start + tokens.length + repeatPrompt : start;
    queryMask.fill(1, queries, queries + tokens.length);
  }
  return {
    [writerNames.queryMask]: { type: 'float32', shape: [batch, 1, length, 1], data: queryMask },
    ...(scoring === 'answer-weighted' ? { [writerNames.neighbours]: neighbours(header, references, length) } : {}),
    ...(scoring === 'reconstruction'
      ? {}
      : { [writerNames.keyBias]: { type: 'float32', shape: [batch, 1, 1, length], data: keyBias } }),
  };
}

function neighbours(header: number, references: readonly ReferenceBody[], length: number): TensorData {
  const rows = references.length * length;
  const bodies = references.map(({ tokens }, element) => ({ start: element * length + header, length: tokens.length }));
  return { type: 'int64', shape: [rows, neighbourhood], data: neighbourRows(rows, bodies) };
}
