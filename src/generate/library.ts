/**
 * Filling a bank: documents in, references with vectors and explicit memories out.
 *
 * Documents come first: each is cut into references, embedded and committed in one transaction. Then the memories of
 * all cold references of the bank are written by the model, a committed batch at a time (warm start). Nothing is kept
 * elsewhere about how far this has come: documents that are in the bank are "unchanged" when they come again and
 * references that have a memory are not cold, so starting again after an interruption goes on where it stopped.
 *
 * The generators report as they go. An event that reports a commit is only yielded when the commit has returned: what
 * it reports survives the process being killed.
 */
import type { NewDocument, NewReference, PutOutcome } from '../bank/bank.ts';
import { checkExists } from '../bank/open.ts';
import { type Rewrite, rewriteBank } from '../bank/rewrite.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';
import { bankPath } from '../hub/home.ts';
import { type BodyProfile, longestBody } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import { cutIntoChunks } from '../retrieval/chunks.ts';
import { readSources, type SkippedSource, type SourceOptions } from '../retrieval/documents.ts';
import { openEmbedder } from '../retrieval/embedder.ts';
import { identityOf, openModel, openWorkspace, type Workspace, type WorkspaceOptions } from './workspace.ts';

/** References that the model encodes in one run, and that are committed together. */
const batchReferences = 16;
/** References that are cut and embedded before an interruption is looked for. */
const embeddedTogether = 128;

export type LibraryParts = Pick<Workspace, 'bank' | 'embedder' | 'model' | 'profile' | 'repeatPrompt' | 'tokenizer'>;

/** What a document is cut and embedded with; the profile says how long a body may be. */
export type DocumentParts = Pick<LibraryParts, 'bank' | 'embedder' | 'tokenizer'> & {
  readonly profile: BodyProfile;
};

/** A text to store; `NewDocument` without what is computed from it. */
export type SourceText = Omit<NewDocument, 'references'>;

export interface LibraryOptions {
  /** Aborts between two commits, and within a document before it is committed. */
  readonly signal?: AbortSignal;
  /** Write the memories of cold references too, which is the default; else each is written when it is first recalled. */
  readonly memories?: boolean;
}

/** One document is in the bank. */
export interface DocumentEvent {
  readonly kind: 'document';
  readonly name: string;
  readonly documentId: number;
  readonly outcome: PutOutcome;
  readonly references: number;
}

/** A batch of memories is in the bank. */
export interface MemoriesEvent {
  readonly kind: 'memories';
  readonly referenceIds: readonly number[];
  /** Memories written since the start, and how many there are to write. */
  readonly done: number;
  readonly total: number;
  /** Reference tokens read by the model since the start, headers included. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
}

/** A source could not be read; the others go on. */
export interface SkippedEvent {
  readonly kind: 'skipped';
  readonly name: string;
  readonly reason: string;
}

export type LibraryEvent = DocumentEvent | MemoriesEvent | SkippedEvent;

/**
 * Reads sources and stores them as `addDocuments` does.
 * @param inputs files, folders, globs, "-" for standard input; see `readSources`.
 * @throws Memory3Error "not-found" for an input that does not exist, before anything is stored.
 * @example for await (const event of addSources(workspace, ['notes/'])) console.log(event.kind);
 */
export function addSources(
  parts: LibraryParts,
  inputs: readonly string[],
  options: SourceOptions & LibraryOptions = {},
): AsyncGenerator<LibraryEvent, void> {
  return addDocuments(parts, readSources(inputs, options), options);
}

/**
 * Stores documents, then writes the memories of all references of the bank that have none.
 * @throws Memory3Error what the bank throws; the signal's reason when it is aborted.
 * @example
 * await using workspace = await openWorkspace({ bank: 'notes', bankMode: 'write' });
 * const note = { name: 'bees', title: null, mediaType: 'text/plain', text: 'Bees dance.' };
 * for await (const event of addDocuments(workspace, [note])) console.log(event.kind);
 */
export async function* addDocuments(
  parts: LibraryParts,
  documents: AsyncIterable<SourceText | SkippedSource> | Iterable<SourceText | SkippedSource>,
  options: LibraryOptions = {},
): AsyncGenerator<LibraryEvent, void> {
  for await (const document of documents) {
    options.signal?.throwIfAborted();
    if ('skipped' in document) yield { kind: 'skipped', name: document.skipped, reason: document.reason };
    else yield await putDocument(parts, document, options);
  }
  if (options.memories ?? true) yield* writeColdMemories(parts, options);
  parts.bank.prepareSearch();
}

/**
 * Cuts and embeds one document and stores it with cold references, in one transaction.
 * @throws Memory3Error what the bank throws; the signal's reason, and then nothing of the document is stored.
 */
export async function putDocument(
  parts: DocumentParts,
  document: SourceText,
  { signal }: Pick<LibraryOptions, 'signal'> = {},
): Promise<DocumentEvent> {
  const { bank } = parts;
  const expected = bank.compare(document.name, document.text);
  const known = expected === 'unchanged' || expected === 'alias';
  const references = known ? [] : await referencesOf(parts, document.text, signal);
  const { outcome, documentId } = bank.putDocument({ ...document, references });
  const stored = bank.document(document.name)?.references ?? references.length;
  return { kind: 'document', name: document.name, documentId, outcome, references: stored };
}

async function referencesOf(
  { tokenizer, profile, embedder }: DocumentParts,
  text: string,
  signal: AbortSignal | undefined,
): Promise<NewReference[]> {
  const references: NewReference[] = [];
  // A long document is cut and embedded in pieces, so that an interruption is heard meanwhile.
  for (const chunks of batches(cutIntoChunks(text, tokenizer, { maxTokens: longestBody(profile) }), embeddedTogether)) {
    signal?.throwIfAborted();
    const vectors = await embedder.embedPassages(chunks.map((chunk) => chunk.text));
    for (const [i, chunk] of chunks.entries()) references.push({ ...chunk, vector: vectors[i] as Float32Array });
  }
  return references;
}

/**
 * Writes the memory of every cold reference of the bank.
 * @throws the signal's reason when it is aborted, between two batches.
 * @example for await (const { done, total } of writeColdMemories(workspace)) console.log(`${done}/${total}`);
 */
export async function* writeColdMemories(
  { model, profile, bank, repeatPrompt }: Pick<LibraryParts, 'bank' | 'model' | 'profile' | 'repeatPrompt'>,
  { signal }: LibraryOptions = {},
): AsyncGenerator<MemoriesEvent, void> {
  const { references, memories } = bank.stats();
  const total = references - memories;
  const started = performance.now();
  let done = 0;
  let tokens = 0;
  for (const ids of batches(bank.coldReferences(), batchReferences)) {
    signal?.throwIfAborted();
    const batch = ids.map((id) => bank.reference(id));
    const written = await writeMemories(model, profile, batch, repeatPrompt);
    bank.putMemories(batch.map(({ id }, index) => ({ referenceId: id, bytes: written[index] as Uint8Array })));
    done += batch.length;
    tokens += batch.reduce((sum, reference) => sum + profile.header.length + reference.tokens.length, 0);
    const seconds = (performance.now() - started) / 1000;
    yield {
      kind: 'memories',
      referenceIds: ids,
      done,
      total,
      tokens,
      tokensPerSecond: tokens / seconds,
      secondsLeft: Math.max(0, total - done) * (seconds / done),
    };
  }
}

/** What the bank was before; what is missing now is written next. */
export interface RewriteEvent extends Rewrite {
  readonly kind: 'rewrite';
}

/**
 * Makes a bank one of another model, profile or embedder: the documents stay, what was computed with the old ones is
 * computed again. Interrupted and started again it goes on where it stopped.
 * @throws Memory3Error "not-found", "locked", and whatever opening the parts throws.
 */
export async function* rewriteLibrary(
  options: WorkspaceOptions,
  libraryOptions: LibraryOptions = {},
): AsyncGenerator<RewriteEvent | LibraryEvent, void> {
  const path = bankPath(options.bank ?? 'default');
  // Before a model is fetched for nothing.
  checkExists(path);
  {
    await using opened = await openModel(options);
    await using embedder = await openEmbedder(options.embedder ?? defaultEmbedder, opened.model.device, options.fetch);
    yield { kind: 'rewrite', ...rewriteBank(path, await identityOf(opened, embedder)) };
  }
  await using workspace = await openWorkspace({ ...options, bankMode: 'write' });
  yield* addDocuments(workspace, pendingDocuments(workspace), libraryOptions);
}

function* pendingDocuments({ bank }: Pick<LibraryParts, 'bank'>): Generator<SourceText, void> {
  for (const { id, name, title, mediaType, pending } of bank.documents()) {
    if (pending) yield { name, title, mediaType, text: bank.documentText(id) };
  }
}

function* batches<Item>(items: Iterable<Item>, size: number): Generator<Item[], void> {
  let batch: Item[] = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
