/**
 * Writing: references in, explicit memories out (paper 3.2, 3.3).
 *
 * A reference is read alone behind the header "<bos>Reference:" at positions 0..127. Of its body's key-values in the
 * memory layers, each kv head keeps the tokens with the highest scores (`graph/writer.ts` defines the scores that the
 * graph computes). The result is bytes (`format.ts`): what is used right away and what is stored are the same.
 */

import { Memory3Error } from '../errors.ts';
import { type GraphScoring, writerNames } from '../graph/writer.ts';
import { encodeMemory } from './format.ts';
import type { LanguageModel } from './model.ts';
import { type MemoryProfile, referenceTokens } from './profile.ts';
import { randomScores, selectTokens } from './selection.ts';

/** Added to a score to mask it: far below any score, and finite, since some providers make NaN of infinities. */
export const masked = -1e30;

/** A reference to write. */
export interface ReferenceBody {
  /** Body token ids; header and body together are at most 128 tokens. */
  readonly tokens: readonly number[];
}

/** What the model computed for one reference; read by `writeMemories` and by tests. */
export interface EncodedReference {
  /** `[layers, 2, kvHeads, body, headDim]` */
  readonly keysValues: Float32Array;
  /** `[layers, kvHeads, body]`, or undefined where all tokens are kept. */
  readonly scores: Float32Array | undefined;
  readonly body: number;
}

/**
 * Writes a batch of references as explicit memories.
 * @param repeatPrompt token ids of "Repeat the reference:", needed by reconstruction scores only.
 * @returns one memory for each reference, encoded as the profile says.
 * @throws Memory3Error "too-long" if header and body exceed 128 tokens, "usage" if a body is empty.
 */
export async function writeMemories(
  model: LanguageModel,
  profile: MemoryProfile,
  references: readonly ReferenceBody[],
  repeatPrompt: readonly number[] = [],
): Promise<Uint8Array[]> {
  const encoded = await encodeReferences(model, profile, references, repeatPrompt);
  return encoded.map((reference, index) => {
    const kept = selectAll(model, profile, reference, references[index] as ReferenceBody);
    return encodeMemory(gather(model, profile, reference, kept), profile.storage);
  });
}

/** Runs the writer graph on a batch; see `writeMemories`. */
export async function encodeReferences(
  model: LanguageModel,
  profile: MemoryProfile,
  references: readonly ReferenceBody[],
  repeatPrompt: readonly number[],
): Promise<EncodedReference[]> {
  const { header, layers } = profile;
  for (const { tokens } of references) {
    if (tokens.length === 0) throw new Memory3Error('usage', 'A reference without tokens cannot be written.');
    if (header.length + tokens.length > referenceTokens) {
      throw new Memory3Error(
        'too-long',
        `A reference of ${tokens.length} tokens and its header of ${header.length} exceed ${referenceTokens} tokens.`,
      );
    }
  }
  const scoring = graphScoring(profile);
  const sequences = references.map(({ tokens }) =>
    scoring === 'reconstruction' ? [...header, ...tokens, ...repeatPrompt, ...tokens] : [...header, ...tokens],
  );
  const batch = sequences.length;
  const length = Math.max(...sequences.map((sequence) => sequence.length));
  const tokens = new Int32Array(batch * length);
  for (const [element, sequence] of sequences.entries()) tokens.set(sequence, element * length);
  const positions = tokens.map((_, index) => index % length);

  const session = await model.writerSession(layers, scoring);
  const outputs = await model.device.run({
    session,
    inputs: {
      ...model.tokenInputs(tokens, positions, batch),
      [writerNames.bias]: {
        type: 'float32',
        shape: [batch, 1, length, length],
        data: causalBias(batch, length, model.config.slidingWindow),
      },
      ...scoreInputs(scoring, header.length, references, length, repeatPrompt.length),
    },
    outputs: scoring === 'none' ? [writerNames.keysValues] : [writerNames.keysValues, writerNames.scores],
  });
  const keysValues = outputs[writerNames.keysValues]?.data as Float32Array;
  const scores = outputs[writerNames.scores]?.data as Float32Array | undefined;
  const { kvHeads, headDim } = model.config;
  return references.map((reference, element) => {
    const body = reference.tokens.length;
    const cut = (source: Float32Array, planes: number, width: number) => {
      const result = new Float32Array(planes * kvHeads * body * width);
      for (let plane = 0; plane < planes; plane++) {
        for (let head = 0; head < kvHeads; head++) {
          const start = (((plane * batch + element) * kvHeads + head) * length + header.length) * width;
          result.set(source.subarray(start, start + body * width), (plane * kvHeads + head) * body * width);
        }
      }
      return result;
    };
    return {
      body,
      keysValues: cut(keysValues, layers.length * 2, headDim),
      scores: scores === undefined ? undefined : cut(scores, layers.length, 1),
    };
  });
}

/** Indices of the kept body tokens, `[layers * kvHeads]` lists of equal length, ascending. */
export function selectAll(
  model: LanguageModel,
  profile: MemoryProfile,
  { body, scores }: EncodedReference,
  reference: ReferenceBody,
): number[][] {
  const { kvHeads } = model.config;
  const count = profile.keptTokens === 'all' ? body : Math.min(profile.keptTokens, body);
  return Array.from({ length: profile.layers.length * kvHeads }, (_, plane) => {
    if (count === body) return Array.from({ length: body }, (_, token) => token);
    if (profile.scoring === 'random') return selectTokens(randomScores(body, seedOf(reference.tokens, plane)), count);
    const own = (scores as Float32Array).subarray(plane * body, (plane + 1) * body);
    return selectTokens(own, count);
  });
}

/** The kept tokens of one reference as an explicit memory. */
export function gather(
  model: LanguageModel,
  profile: MemoryProfile,
  { body, keysValues }: EncodedReference,
  kept: readonly (readonly number[])[],
) {
  const { kvHeads, headDim } = model.config;
  const layers = profile.layers.length;
  const count = kept[0]?.length ?? 0;
  const result = new Float32Array(layers * 2 * kvHeads * count * headDim);
  const positions = Uint8Array.from(kept.flatMap((tokens) => tokens.map((token) => token + profile.header.length)));
  let write = 0;
  for (let layer = 0; layer < layers; layer++) {
    for (let part = 0; part < 2; part++) {
      for (let head = 0; head < kvHeads; head++) {
        const start = ((layer * 2 + part) * kvHeads + head) * body;
        for (const token of kept[layer * kvHeads + head] as readonly number[]) {
          const from = (start + token) * headDim;
          result.set(keysValues.subarray(from, from + headDim), write);
          write += headDim;
        }
      }
    }
  }
  return { layers, kvHeads, kept: count, headDim, positions, keysValues: result };
}

function graphScoring({ keptTokens, scoring }: MemoryProfile): GraphScoring {
  return keptTokens === 'all' || scoring === 'random' ? 'none' : scoring;
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
) {
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
    ...(scoring === 'reconstruction'
      ? {}
      : { [writerNames.keyBias]: { type: 'float32', shape: [batch, 1, 1, length], data: keyBias } }),
  } as const;
}

/** A number that the reference's tokens and the plane decide (FNV-1a). */
function seedOf(tokens: readonly number[], plane: number): number {
  let hash = 0x811c9dc5;
  for (const token of [...tokens, plane]) hash = Math.imul(hash ^ token, 0x01000193);
  return hash >>> 0;
}
