/**
 * How much a build has still to do, before it begins: a few documents of each source are cut, and a few of their
 * references are embedded and written for nothing but the time that it takes here. Of each source:
 *
 *   references = characters that are not stored yet * references per character of its sample
 *   seconds    = references * seconds per reference of embedding + tokens * seconds per token of writing
 */
import { createHash } from 'node:crypto';
import type { LibraryParts } from '../../generate/library.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { memoryBytes } from '../../memory/format.ts';
import { longestBody, type MemoryProfile, summaryTokenCount } from '../../memory/profile.ts';
import { writeMemories } from '../../memory/writer.ts';
import { type Chunk, cutIntoChunks } from '../../retrieval/chunks.ts';
import type { BankPlan, PlannedSource } from './plan.ts';

export interface SourceEstimate {
  readonly source: string;
  /** Documents of the data, whatever the limit. */
  readonly available: number;
  /** Of these, how many are wanted. */
  readonly planned: number;
  /** Documents that are not in the bank yet. */
  readonly documents: number;
  /** Of these. */
  readonly characters: number;
  readonly references: number;
  readonly tokens: number;
}

export interface BuildEstimate {
  readonly sources: readonly SourceEstimate[];
  /** To store; those that are stored but not written yet are `cold`. */
  readonly references: number;
  readonly cold: number;
  /** Of both. */
  readonly tokens: number;
  /** By which the bank grows. */
  readonly bytes: number;
  readonly seconds: number;
}

type Sampled = Pick<Chunk, 'text' | 'tokens'>;

/** References that are much alike: of one source, or those that are stored without their memories. */
interface Work {
  readonly references: number;
  readonly tokens: number;
  /** Some of them. */
  readonly sample: readonly Sampled[];
  readonly isStored: boolean;
}

/** Documents of each source that are cut, and how much of each. */
const sampleDocuments = 4;
const sampleCharacters = 8000;
/** References without memories that are looked at. */
const sampleCold = 64;
/** References of each source that are embedded and written. */
const timedReferences = 4;

/**
 * Estimates what is left of a build. Nothing is stored.
 * @param memories whether memories are written now
 * @throws Memory3Error for data that is missing or damaged; the signal's reason
 */
export async function estimateBuild(
  parts: LibraryParts,
  plan: BankPlan,
  { memories, signal }: { readonly memories: boolean; readonly signal?: AbortSignal },
): Promise<BuildEstimate> {
  const known = new Set<string>();
  const sources: SourceEstimate[] = [];
  const work: Work[] = [];
  for (const planned of plan.sources) {
    signal?.throwIfAborted();
    const { estimate, chunks } = await estimateSource(parts, planned, plan.data, known);
    sources.push(estimate);
    work.push({ references: estimate.references, tokens: estimate.tokens, sample: chunks, isStored: false });
  }
  const references = sum(sources.map((one) => one.references));
  const stored = references * parts.embedder.dimensions * 4 + sum(sources.map((one) => one.tokens)) * 4;
  const texts = 2 * sum(sources.map(({ characters }) => characters));
  const cold = memories ? [coldWork(parts.bank)] : [];
  const left = [...work, ...cold].filter(({ sample }) => sample.length > 0);
  // The first run of anything makes it ready.
  if (left[0] !== undefined) await secondsOf(parts, left[0], memories);
  let seconds = 0;
  for (const one of left) {
    signal?.throwIfAborted();
    seconds += await secondsOf(parts, one, memories);
  }
  const { model, profile } = parts;
  const written = left.map(
    (one) => one.references * bytesOf(model, profile, Math.max(1, Math.round(one.tokens / one.references))),
  );
  return {
    sources,
    references,
    cold: sum(cold.map((one) => one.references)),
    tokens: sum(left.map((one) => one.tokens)),
    bytes: (memories ? sum(written) : 0) + stored + texts,
    seconds,
  };
}

/** What is stored and was never written. */
function coldWork(bank: LibraryParts['bank']): Work {
  const ids = [...bank.coldReferences()];
  const sample = spread(ids, sampleCold).map((id) => bank.reference(id));
  const tokens = sum(sample.map((one) => one.tokens.length)) / Math.max(1, sample.length);
  return { references: ids.length, tokens: Math.round(ids.length * tokens), sample, isStored: true };
}

/** Bytes of the memory of a body of so many tokens. */
export function bytesOf({ config }: LibraryParts['model'], profile: MemoryProfile, bodyTokens: number): number {
  const { kvHeads, headDim } = config;
  const most = profile.keptTokens === 'all' ? bodyTokens : Math.min(profile.keptTokens, bodyTokens);
  const kept = profile.scoring === 'summary' ? summaryTokenCount(profile) : most;
  return memoryBytes(profile.storage, { layers: profile.layers.length, kvHeads, kept, headDim });
}

async function estimateSource(
  { bank, tokenizer, profile }: LibraryParts,
  { source, limit }: PlannedSource,
  data: string,
  known: Set<string>,
): Promise<{ estimate: SourceEstimate; chunks: Chunk[] }> {
  const random = seededRandom(0);
  let [available, documents, characters] = [0, 0, 0];
  const sample: string[] = [];
  for await (const document of source.read(data)) {
    if ('skipped' in document) continue;
    available++;
    if (limit !== null && available > limit) continue;
    const { name, text } = document;
    const hash = createHash('sha256').update(text).digest('hex');
    const outcome = bank.compare(name, text);
    if (known.has(hash) || outcome === 'unchanged' || outcome === 'alias') continue;
    known.add(hash);
    documents++;
    characters += text.length;
    // Each document is as likely to be in the sample as any other.
    const place = documents <= sampleDocuments ? documents - 1 : Math.floor(random() * documents);
    if (place < sampleDocuments) sample[place] = text.slice(0, sampleCharacters);
  }
  const maxTokens = longestBody(profile);
  const chunks = sample.flatMap((text) => [...cutIntoChunks(text, tokenizer, { maxTokens })]);
  const share = characters / Math.max(1, sum(sample.map(({ length }) => length)));
  const references = Math.max(documents, Math.round(share * chunks.length));
  const tokens = Math.round(share * sum(chunks.map((chunk) => chunk.tokens.length)));
  const planned = Math.min(available, limit ?? available);
  return { estimate: { source: source.name, available, planned, documents, characters, references, tokens }, chunks };
}

/** Seconds for embedding what is not stored, and for writing, by the time that a few of the references take. */
async function secondsOf(
  { embedder, model, profile, repeatPrompt }: LibraryParts,
  { references, tokens, sample, isStored }: Work,
  memories: boolean,
): Promise<number> {
  const timed = spread(sample, timedReferences);
  const elapsed = async (work: () => Promise<unknown>) => {
    const started = performance.now();
    await work();
    return (performance.now() - started) / 1000;
  };
  const texts = timed.map(({ text }) => text);
  const embed = isStored ? 0 : await elapsed(() => embedder.embedPassages(texts));
  const write = memories ? await elapsed(() => writeMemories(model, profile, timed, repeatPrompt)) : 0;
  const read = sum(timed.map((one) => one.tokens.length + profile.header.length));
  return (references * embed) / timed.length + ((tokens + references * profile.header.length) * write) / read;
}

/** Some of the values, at even distances. */
function spread<T>(values: readonly T[], count: number): T[] {
  const taken = Math.min(count, values.length);
  return Array.from({ length: taken }, (_, i) => values[Math.floor(((i + 0.5) * values.length) / taken)] as T);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
