/** What speed is measured with: real texts, and a bank for each number of kept tokens. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MemoryBank, NewReference, StoredReference } from '../bank/bank.ts';
import { openBank } from '../bank/sqlite.ts';
import { Memory3Error } from '../errors.ts';
import type { Answerer } from '../generate/answer.ts';
import { MemoryRecall } from '../generate/recall.ts';
import { identityOf, type OpenedModel } from '../generate/workspace.ts';
import { chunkTokens, longestBody, type MemoryProfile } from '../memory/profile.ts';
import { type Chunk, cutIntoChunks } from '../retrieval/chunks.ts';
import type { Embedder } from '../retrieval/embedder.ts';
import type { KeptName } from './speed.ts';

/** The texts that come with the project. */
const libraryFolder = fileURLToPath(new URL('../../assets/library/', import.meta.url));

/** Those of them that are plain text. */
export function libraryTexts(): string[] {
  return readdirSync(libraryFolder)
    .filter((file) => file.endsWith('.txt') || (file.endsWith('.md') && file !== 'README.md'))
    .map((file) => readFileSync(join(libraryFolder, file), 'utf8'));
}

/** References so much shorter than the longest are left out: what is compared are references of full length. */
const missingTokens = 14;

/** References of full length, as a text is cut. */
export function fullReferences(
  text: string,
  { tokenizer, profile }: Pick<OpenedModel, 'tokenizer' | 'profile'>,
): IteratorObject<Chunk> {
  const maxTokens = longestBody(profile);
  return cutIntoChunks(text, tokenizer, { maxTokens }).filter(
    ({ tokens }) => tokens.length >= maxTokens - missingTokens,
  );
}

/** References in each bank. */
const bankReferences = 96;
/** References written in one measured batch. */
const writtenAtOnce = 16;

/** An answerer together with its bank. */
export interface BankAnswerer extends Answerer {
  readonly bank: MemoryBank;
  readonly recall: MemoryRecall;
}

export interface SpeedMaterial extends AsyncDisposable {
  readonly profiles: Readonly<Record<KeptName, MemoryProfile>>;
  /** A question of 32 tokens. */
  readonly question: string;
  /** Token ids of a text. */
  readonly text: readonly number[];
  /** The text of the 64 tokens before a position. */
  query(position: number): string;
  /** References of full length. */
  readonly chunks: readonly Chunk[];
  answerer(kept: KeptName): BankAnswerer;
  bankPath(kept: KeptName): string;
  /** References to write again. */
  writeBatch(kept: KeptName): StoredReference[];
}

/** Prepares banks in a temporary folder; they are deleted when the material is disposed of. */
export async function speedMaterial(opened: OpenedModel, embedder: Embedder): Promise<SpeedMaterial> {
  const { model, tokenizer, profile, repeatPrompt } = opened;
  const texts = libraryTexts();
  const full = texts.flatMap((text) => [...fullReferences(text, opened)]).slice(0, bankReferences);
  if (full.length < writtenAtOnce) throw new Memory3Error('not-found', `${libraryFolder} has too few texts.`);
  const text = tokenizer.encode(texts.join('\n\n'));
  const joined = full.map((chunk) => chunk.text).join('\n\n');
  const vectors = await embedder.embedPassages(full.map((chunk) => chunk.text));
  let position = 0;
  const references = full.map(({ text: own, tokens }, index): NewReference => {
    const start = position;
    position += own.length + 2;
    return { text: own, start, end: start + own.length, tokens, vector: vectors[index] as Float32Array };
  });

  const folder = mkdtempSync(join(tmpdir(), 'memory3-speed-'));
  const resources = new DisposableStack();
  resources.defer(() => rmSync(folder, { recursive: true }));
  const kept = { '8': 8, '32': 32, all: 'all', default: profile.keptTokens } as const;
  const profiles = {} as Record<KeptName, MemoryProfile>;
  const answerers = new Map<KeptName, BankAnswerer>();
  const path = (name: KeptName) => join(folder, `${name}.memory3`);
  for (const [key, keptTokens] of Object.entries(kept)) {
    const name = key as KeptName;
    // Summary tokens cannot be more or fewer than there are; how tokens are chosen does not change the speed.
    const scoring = name === 'default' || profile.scoring !== 'summary' ? profile.scoring : 'received';
    profiles[name] = { ...profile, keptTokens, scoring };
    const identity = await identityOf({ ...opened, profile: profiles[name] }, embedder);
    const bank: MemoryBank = resources.use(openBank(path(name), { mode: 'write', identity }));
    bank.putDocument({ name: 'library', title: null, mediaType: 'text/plain', text: joined, references });
    const parts = { model, profile: profiles[name], bank, embedder, repeatPrompt };
    answerers.set(name, { ...opened, ...parts, recall: new MemoryRecall(parts, { cacheBytes: 0 }) });
  }
  const answerer = (name: KeptName) => answerers.get(name) as BankAnswerer;
  return {
    profiles,
    question: tokenizer.decode(text.slice(1000, 1032)),
    text,
    query: (at) => tokenizer.decode(text.slice(at - chunkTokens, at)),
    chunks: full,
    answerer,
    bankPath: path,
    writeBatch(name) {
      const { bank } = answerer(name);
      const [document] = [...bank.documents()];
      return bank.references(document?.id as number).slice(0, writtenAtOnce);
    },
    async [Symbol.asyncDispose]() {
      resources.dispose();
    },
  };
}
