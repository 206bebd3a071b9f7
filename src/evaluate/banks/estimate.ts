/**
 * How much a build has still to do, before it begins: a few documents of each source are cut, and a few of their
 * references are embedded and written for nothing but the time that it takes here.
 *
 *   references = characters that are not stored yet * references per character of the sample
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

/** Documents of each source that are cut, and how much of each. */
const sampleDocuments = 4;
const sampleCharacters = 8000;
/** References that are embedded and written. */
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
  const sampled: Pick<Chunk, 'text' | 'tokens'>[] = [];
  for (const planned of plan.sources) {
    signal?.throwIfAborted();
    const { estimate, chunks } = await estimateSource(parts, planned, plan.data, known);
    sources.push(estimate);
    sampled.push(...chunks.slice(0, timedReferences));
  }
  const { bank, profile, model } = parts;
  const stats = bank.stats();
  const cold = memories ? stats.references - stats.memories : 0;
  if (sampled.length === 0 && cold > 0) {
    for (const id of bank.coldReferences()) {
      if (sampled.push(bank.reference(id)) === timedReferences) break;
    }
  }
  const timed = sampled.slice(0, timedReferences);
  const seconds = timed.length === 0 ? { embed: 0, token: 0 } : await timeOf(parts, timed, memories);
  const meanTokens = sum(timed.map(({ tokens }) => tokens.length)) / Math.max(1, timed.length);
  const references = sum(sources.map((one) => one.references));
  const tokens = sum(sources.map((one) => one.tokens)) + Math.round(cold * meanTokens);
  const written = memories ? references + cold : 0;
  const read = memories ? tokens + written * profile.header.length : 0;
  const stored = references === 0 ? 0 : references * parts.embedder.dimensions * 4 + tokens * 4;
  const texts = 2 * sum(sources.map(({ characters }) => characters));
  return {
    sources,
    references,
    cold,
    tokens,
    bytes: Math.round(written * bytesOf(model, profile, Math.max(1, Math.round(meanTokens))) + stored + texts),
    seconds: references * seconds.embed + read * seconds.token,
  };
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

/** Seconds for embedding a reference, and for writing a token of one. */
async function timeOf(
  { embedder, model, profile, repeatPrompt }: LibraryParts,
  references: readonly Pick<Chunk, 'text' | 'tokens'>[],
  memories: boolean,
): Promise<{ embed: number; token: number }> {
  const timed = async (work: () => Promise<unknown>) => {
    // The first run of anything makes it ready.
    await work();
    const started = performance.now();
    await work();
    return (performance.now() - started) / 1000;
  };
  const texts = references.map(({ text }) => text);
  const embed = await timed(() => embedder.embedPassages(texts));
  const write = memories ? await timed(() => writeMemories(model, profile, references, repeatPrompt)) : 0;
  const tokens = sum(references.map((one) => one.tokens.length + profile.header.length));
  return { embed: embed / references.length, token: write / tokens };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
