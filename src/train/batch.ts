/**
 * From sequences and references to the inputs of a training graph (`graph/trainer.ts`).
 *
 * A sequence sees its own tokens up to each (no further back than a sliding window reaches, and only those of the same
 * sample where several are packed), the header, and the memories of its chunk. All of that is written into two biases:
 *
 *   plain layers   [ header | tokens ]
 *   memory layers  [ M memories of k slots | header | tokens ]
 *
 * Positions: references and header at 0..127, a sample that sees references from 128 on, one that sees none from 0 on and
 * without the header, as the ordinary model (paper 3.2). Of packed samples each does as it would alone. Samples that begin
 * alike and see no references may share that beginning, which is read once: each goes on behind it.
 */
import { Memory3Error } from '../errors.ts';
import { trainerNames } from '../graph/trainer-inputs.ts';
import { writerNames } from '../graph/writer.ts';
import type { AnswerClassifier } from '../memory/answer-classifier.ts';
import { type MemoryProfile, referenceTokens } from '../memory/profile.ts';
import { causalBias, masked } from '../memory/reference-batch.ts';
import type { ModelConfig } from '../model/config.ts';
import type { TensorData } from '../runtime/device.ts';

/** Tokens that are learned from, and the references that they see. */
export interface TrainingSequence {
  readonly tokens: readonly number[];
  /** `weights[i]` weighs -log P(tokens[i] | what stands before it); `weights[0]` counts for nothing. */
  readonly weights: readonly number[];
  /** References loaded for each chunk, as indices into the batch's; one entry where the sequence is one chunk. */
  readonly chunks: readonly (readonly number[])[];
  /** Which sample a token belongs to, where several are packed: positions restart with each and none sees another. */
  readonly samples?: readonly number[];
  /** Tokens at the beginning that all samples have in common, where none sees references; default none. */
  readonly shared?: number;
  /** References that each sample sees of those loaded for its chunk; default all. */
  readonly seen?: readonly (readonly number[])[];
}

/** What one pass through the model learns from. */
export interface TrainingBatch {
  /** Bodies in tokens, without the header; empty where no sequence sees any. */
  readonly references: readonly (readonly number[])[];
  readonly sequences: readonly TrainingSequence[];
}

/** How a batch's references become memories. */
export interface BatchMemory {
  readonly profile: MemoryProfile;
  /** Kept tokens of this batch: the profile's, or others of which a model learns several. */
  readonly keptTokens: number | 'all';
  /** Tokens of a chunk; null where a sequence is one chunk. */
  readonly chunkTokens: number | null;
  /** Summary tokens appended to each reference, which alone are kept then; 0 for none. */
  readonly summaryTokens: number;
  /** For profiles that keep tokens by it; default none. */
  readonly answerClassifier?: AnswerClassifier | null;
  /** Kept body tokens of each reference by layer and kv head, `[R][layers * kvHeads]`, where no graph chooses them. */
  readonly chosen?: readonly (readonly (readonly number[])[])[];
}

/** Tokens of its own text that a model can read; memories take the first positions. */
export function roomFor({ contextLength }: { readonly contextLength: number }, memory: boolean): number {
  return contextLength - (memory ? referenceTokens : 0);
}

/** Inputs of a graph, and what they weigh. */
export interface BatchInputs {
  readonly inputs: Record<string, TensorData>;
  /** Sum of the weights. */
  readonly weight: number;
  /** Tokens that go through the model, padding included. */
  readonly tokens: number;
}

/** Names of the inputs that cross-entropy needs. */
export const targetNames = { targets: 'targets', weights: 'weights' } as const;

/**
 * Makes the inputs of one batch; without `memory` the batch's references are not used.
 * @throws Memory3Error "usage" for samples that share a beginning and see references.
 */
export function batchInputs(config: ModelConfig, batch: TrainingBatch, memory: BatchMemory | undefined): BatchInputs {
  const { sequences } = batch;
  if (memory !== undefined && sequences.some(({ shared = 0 }) => shared > 0)) {
    throw new Memory3Error('usage', 'Samples that see references share no beginning: it differs with what they see.');
  }
  const size = sequences.length;
  const chunk = memory?.chunkTokens ?? 1;
  // The last token is only predicted.
  const longest = Math.max(...sequences.map(({ tokens }) => tokens.length - 1));
  const length = Math.ceil(longest / chunk) * chunk;
  const tokens = new BigInt64Array(size * length);
  const positions = new BigInt64Array(size * length);
  const rows: number[] = [];
  const targets: number[] = [];
  const weights: number[] = [];
  for (const [element, sequence] of sequences.entries()) {
    const readers = memory === undefined ? new Set() : samplesWithReferences(sequence, memory.chunkTokens);
    const offset = element * length;
    const { shared = 0 } = sequence;
    let start = 0;
    for (let i = 0; i < sequence.tokens.length; i++) {
      if (beginsSample(sequence, i)) start = i;
      const inside = i < shared ? i : shared + i - start;
      // The first token behind a shared beginning is predicted by the beginning's last.
      const weight = i === 0 ? 0 : (sequence.weights[i] as number);
      if (weight !== 0) {
        rows.push(offset + (i === start && shared > 0 ? shared : i) - 1);
        targets.push(sequence.tokens[i] as number);
        weights.push(weight);
      }
      if (i === length) break;
      tokens[offset + i] = BigInt(sequence.tokens[i] as number);
      positions[offset + i] = BigInt((readers.has(sampleOf(sequence, i)) ? referenceTokens : 0) + inside);
    }
  }
  const names = trainerNames;
  const inputs: Record<string, TensorData> = {
    [names.tokens]: { type: 'int64', shape: [size * length], data: tokens },
    [names.positions]: { type: 'int64', shape: [size, length], data: positions },
    [names.rows]: integers([rows.length], rows),
    [targetNames.targets]: integers([rows.length], targets),
    [targetNames.weights]: { type: 'float32', shape: [rows.length], data: Float32Array.from(weights) },
  };
  const weight = weights.reduce((sum, one) => sum + one, 0);
  if (memory === undefined) {
    inputs[names.bias('plain')] = contextBias(config, sequences, length, { header: 0, memories: 0, slots: [] });
    return { inputs, weight, tokens: size * length };
  }
  const references = referenceInputs(config, batch.references, memory);
  const memories = Math.max(1, ...sequences.flatMap(({ chunks }) => chunks.map(({ length: count }) => count)));
  const header = memory.profile.header.length;
  const seen = { header, memories, slots: references.slots, kept: references.kept, chunk: memory.chunkTokens };
  Object.assign(inputs, references.inputs, {
    [names.recalled]: recalledInput(sequences, length, memories, memory.chunkTokens),
    [names.bias('memory')]: contextBias(config, sequences, length, seen),
    ...(memory.profile.layers.length === config.layers
      ? {}
      : { [names.bias('plain')]: contextBias(config, sequences, length, { ...seen, memories: 0 }) }),
  });
  return { inputs, weight, tokens: size * length + references.tokens };
}

function sampleOf({ samples }: TrainingSequence, token: number): number {
  return samples?.[token] ?? 0;
}

/** Whether another sample begins with a token; a shared beginning is none. */
function beginsSample(sequence: TrainingSequence, token: number): boolean {
  const { shared = 0 } = sequence;
  if (token <= shared) return token === shared;
  return sampleOf(sequence, token) !== sampleOf(sequence, token - 1);
}

/** References of a token's chunk. */
function recalledAt({ chunks }: TrainingSequence, token: number, chunkTokens: number | null): readonly number[] {
  return chunks[chunkTokens === null ? 0 : Math.floor(token / chunkTokens)] ?? [];
}

/** Whether a token sees a reference of its chunk. */
function sees(sequence: TrainingSequence, token: number, reference: number): boolean {
  return sequence.seen?.[sampleOf(sequence, token)]?.includes(reference) ?? true;
}

/** The samples of a sequence that see references: they see the header too, and begin behind it. */
function samplesWithReferences(sequence: TrainingSequence, chunkTokens: number | null): Set<number> {
  const readers = sequence.tokens
    .keys()
    .filter((token) => recalledAt(sequence, token, chunkTokens).some((one) => sees(sequence, token, one)));
  return new Set(readers.map((token) => sampleOf(sequence, token)));
}

function integers(shape: readonly number[], values: readonly number[]): TensorData {
  return { type: 'int64', shape, data: BigInt64Array.from(values, BigInt) };
}

/** `[chunks, memories]`; a chunk with fewer memories gets the first reference, which its bias hides. */
function recalledInput(
  sequences: readonly TrainingSequence[],
  length: number,
  memories: number,
  chunkTokens: number | null,
): TensorData {
  const chunks = chunkTokens === null ? 1 : length / chunkTokens;
  const recalled = sequences.flatMap((sequence) =>
    Array.from({ length: chunks }, (_, chunk) =>
      Array.from({ length: memories }, (__, place) => sequence.chunks[chunk]?.[place] ?? 0),
    ).flat(),
  );
  return integers([sequences.length * chunks, memories], recalled);
}

interface Seen {
  readonly header: number;
  readonly memories: number;
  /** Kept tokens of each reference: its first so many slots count. */
  readonly slots: readonly number[];
  /** Slots of each memory. */
  readonly kept?: number;
  /** Tokens of a chunk. */
  readonly chunk?: number | null;
}

/** `[B, 1, L, memories * kept + header + L]` */
function contextBias(
  { slidingWindow }: ModelConfig,
  sequences: readonly TrainingSequence[],
  length: number,
  { header, memories, slots, kept = 0, chunk = null }: Seen,
): TensorData {
  const width = memories * kept + header + length;
  const data = new Float32Array(sequences.length * length * width).fill(masked);
  for (const [element, sequence] of sequences.entries()) {
    const { shared = 0 } = sequence;
    const readers = samplesWithReferences(sequence, chunk);
    const window = slidingWindow ?? length;
    let start = 0;
    for (let i = 0; i < length; i++) {
      if (beginsSample(sequence, i)) start = i;
      const row = (element * length + i) * width;
      const own = row + memories * kept + header;
      const inside = i < shared ? i : shared + i - start;
      data.fill(0, own + Math.max(i < shared ? 0 : start, i + 1 - window), own + i + 1);
      if (i >= shared) data.fill(0, own + Math.min(shared, Math.max(0, inside + 1 - window)), own + shared);
      if (!readers.has(sampleOf(sequence, i))) continue;
      data.fill(0, own - header, own);
      if (memories === 0) continue;
      for (const [place, reference] of recalledAt(sequence, i, chunk).entries()) {
        if (!sees(sequence, i, reference)) continue;
        data.fill(0, row + place * kept, row + place * kept + (slots[reference] as number));
      }
    }
  }
  return { type: 'float32', shape: [sequences.length, 1, length, width], data };
}

/** Inputs of the references' part, with how many slots each memory has and how many of them count. */
function referenceInputs(config: ModelConfig, bodies: readonly (readonly number[])[], memory: BatchMemory) {
  const { profile, keptTokens, summaryTokens, chosen } = memory;
  const { header } = profile;
  const names = trainerNames;
  const lengths = bodies.map((body) => header.length + body.length + summaryTokens);
  const length = Math.max(...lengths);
  const count = bodies.length;
  const tokens = new Int32Array(count * length);
  const positions = Array.from({ length: count * length }, (_, i) => i % length);
  const bias = causalBias(count, length, config.slidingWindow);
  for (const [reference, body] of bodies.entries()) tokens.set([...header, ...body], reference * length);
  const longest = Math.max(...bodies.map(({ length: own }) => own));
  const kept = summaryTokens > 0 ? summaryTokens : keptTokens === 'all' ? longest : Math.min(keptTokens, longest);
  const inputs: Record<string, TensorData> = {
    [names.referenceTokens]: integers([count * length], [...tokens]),
    [names.referencePositions]: integers([count, length], positions),
    [names.referenceBias]: { type: 'float32', shape: [count, 1, length, length], data: bias },
  };
  const given = (positions: (reference: number, plane: number) => readonly number[]) => {
    inputs[names.kept] = keptInput(profile.layers.length, config.kvHeads, count, kept, positions);
  };
  if (summaryTokens > 0) {
    inputs[names.summaryLayout] = summaryLayout(bodies, header.length, length, summaryTokens);
    given((reference) => {
      const start = header.length + (bodies[reference] as readonly number[]).length;
      return Array.from({ length: summaryTokens }, (_, i) => start + i);
    });
  } else if (chosen !== undefined) {
    checkChosen(chosen, bodies, kept, profile.layers.length * config.kvHeads);
    given((reference, plane) => (chosen[reference]?.[plane] ?? []).map((token) => header.length + token));
  } else {
    Object.assign(inputs, scoreInputs(bodies, header.length, length, kept));
  }
  return {
    inputs,
    kept,
    slots: bodies.map((body) => (summaryTokens > 0 ? summaryTokens : Math.min(kept, body.length))),
    tokens: count * length,
  };
}

/** Each layer and kv head keeps as many body tokens as there are slots that count. */
function checkChosen(
  chosen: NonNullable<BatchMemory['chosen']>,
  bodies: readonly (readonly number[])[],
  kept: number,
  planes: number,
): void {
  for (const [reference, { length }] of bodies.entries()) {
    const own = chosen[reference];
    const count = Math.min(kept, length);
    const fits = (tokens: readonly number[]) =>
      tokens.length === count && tokens.every((token) => token >= 0 && token < length);
    if (own?.length === planes && own.every(fits)) continue;
    throw new Memory3Error(
      'mismatch',
      `The tokens chosen of reference ${reference} are not ${count} of its ${length} for each of ${planes} layers and heads.`,
    );
  }
}

function scoreInputs(
  bodies: readonly (readonly number[])[],
  header: number,
  length: number,
  kept: number,
): Record<string, TensorData> {
  const count = bodies.length;
  const keyBias = new Float32Array(count * length).fill(masked);
  const queryMask = new Float32Array(count * length);
  for (const [reference, body] of bodies.entries()) {
    const start = reference * length + header;
    keyBias.fill(0, start, start + body.length);
    queryMask.fill(1, start, start + body.length);
  }
  return {
    [writerNames.queryMask]: { type: 'float32', shape: [count, 1, length, 1], data: queryMask },
    [trainerNames.keptCount]: integers([1], [kept]),
    [writerNames.keyBias]: { type: 'float32', shape: [count, 1, 1, length], data: keyBias },
  };
}

/** `[layers, R, kvHeads, kept]`; a reference with fewer tokens repeats its first position, which its bias hides. */
function keptInput(
  layers: number,
  kvHeads: number,
  references: number,
  kept: number,
  positions: (reference: number, plane: number) => readonly number[],
): TensorData {
  const values: number[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (let reference = 0; reference < references; reference++) {
      for (let head = 0; head < kvHeads; head++) {
        const own = positions(reference, layer * kvHeads + head);
        for (let slot = 0; slot < kept; slot++) values.push(own[slot] ?? 0);
      }
    }
  }
  return integers([layers, references, kvHeads, kept], values);
}

/** Rows of [ reference tokens | summary tokens ]: the summary tokens stand right behind each body. */
function summaryLayout(
  bodies: readonly (readonly number[])[],
  header: number,
  length: number,
  summaryTokens: number,
): TensorData {
  const layout = Array.from({ length: bodies.length * length }, (_, i) => i);
  for (const [reference, body] of bodies.entries()) {
    const start = reference * length + header + body.length;
    for (let i = 0; i < summaryTokens; i++) layout[start + i] = bodies.length * length + i;
  }
  return integers([layout.length], layout);
}
