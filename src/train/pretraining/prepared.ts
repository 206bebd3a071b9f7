/**
 * What pretraining reads, prepared once, as a folder:
 *
 *   tokenizer/             tokenizer.json and tokenizer_config.json
 *   train.tokens, validation.tokens, report.json     the corpus (`data/pipeline.ts`)
 *   knowledge.memory3      the bank that references come from
 *   train.references, validation.references          what each chunk found in it
 *   prepared.json          written last: a folder without it is not finished
 *
 * Corpus and knowledge should be different texts. From one collection both are made by a share: a document's hash says
 * to which side it belongs, so that no text is on both. The leakage guard looks for the rest (`data/references.ts`).
 * Interrupted, the embedding and the search go on where they stopped. A corpus that stands there already gives way only when
 * all texts are read: a wrong path, a damaged line or Ctrl+C before that leaves it as it is.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { onDisk } from '../../durable-file.ts';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { takeLock } from '../../lock.ts';
import { memoryHeader } from '../../memory/choose-profile.ts';
import { longestBody } from '../../memory/profile.ts';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { Embedder } from '../../retrieval/embedder.ts';
import { corruptedExamples, sampleTexts, trainClassifier } from '../data/classifier.ts';
import { addKnowledge, type KnowledgeParts, openKnowledge } from '../data/knowledge.ts';
import { type Corpus, type CorpusReport, openCorpus, prepareCorpus } from '../data/pipeline.ts';
import type { TextDocument } from '../data/readers.ts';
import { ReferenceFile, writeReferences } from '../data/reference-file.ts';
import type { TokenFile } from '../data/token-file.ts';
import { type TokenizerFiles, trainBytePairs } from '../scratch/byte-pair-encoding.ts';

type Documents = AsyncIterable<TextDocument> | Iterable<TextDocument>;

export const prepareSettingsSchema = z.strictObject({
  /** Tokens in the vocabulary of a tokenizer that is trained here. */
  vocabularySize: z.int().min(258).default(4096),
  /** Tokens in a sequence: whole chunks of 64. */
  sequenceLength: z.int().positive().multipleOf(64).default(512),
  /** Share of the documents that validation gets. */
  validation: z.number().min(0).lt(1).default(0.03),
  /** Share of `documents` that become knowledge and are not trained on. */
  knowledgeShare: z.number().min(0).lt(1).default(0),
  /** A reference that overlaps more with a sequence is refused (Eq. 6). */
  maxOverlap: z.number().min(0).max(1).default(0.9),
  /** With good texts to compare with: a document that is good with a smaller probability is left out. */
  leastQuality: z.number().min(0).max(1).default(0.5),
});

export interface PrepareOptions extends z.input<typeof prepareSettingsSchema> {
  readonly folder: string;
  /** Read anew for each purpose. */
  readonly documents: () => Documents;
  /** Further texts that only become references. */
  readonly knowledge?: () => Documents;
  /** Good texts: a small classifier learns to tell them from what becomes of them when they are corrupted (paper 4.2). */
  readonly good?: () => Documents;
  /** Default: one is trained on all texts. */
  readonly tokenizer?: TokenizerFiles;
  /** Opened when it is needed: not where there is no knowledge. */
  readonly openEmbedder: () => Promise<Embedder>;
  readonly onProgress?: (progress: PrepareProgress) => void;
  readonly signal?: AbortSignal;
}

export interface PrepareProgress {
  readonly phase: 'tokenizer' | 'quality' | 'corpus' | 'knowledge' | 'train references' | 'validation references';
  /** Documents, or sequences. */
  readonly done: number;
  readonly total: number | null;
}

const natural = z.int().nonnegative();
const countsSchema = z.strictObject({ found: natural, none: natural, refused: natural });
const preparedSchema = z.strictObject({
  vocabularySize: natural,
  sequenceLength: natural,
  /** Null: no knowledge, so no memories can be trained with it. */
  knowledge: z
    .strictObject({
      documents: natural,
      references: natural,
      /** Chunks with and without a reference, and candidates that the leakage guard refused. */
      train: countsSchema,
      validation: countsSchema,
    })
    .nullable(),
});
/** What a prepared folder holds. */
export type PreparedSummary = z.output<typeof preparedSchema>;

/**
 * Prepares a corpus, its knowledge and its references.
 * @throws Memory3Error "usage" for wrong options or if nothing is left to train on; "mismatch" if the folder's knowledge was
 *   made with another tokenizer or embedder; "locked" if another process prepares it; "disk"; what the documents throw.
 * @example
 * await prepareTraining({ folder: 'corpus', documents: () => readDocuments(['texts/']), knowledgeShare: 0.4, openEmbedder });
 */
export async function prepareTraining(
  options: PrepareOptions,
): Promise<PreparedSummary & { readonly report: CorpusReport }> {
  const { folder, documents, knowledge, good, openEmbedder, onProgress, signal, tokenizer: given, ...rest } = options;
  const { vocabularySize, ...settings } = checkOptions(prepareSettingsSchema, rest);
  const paths = pathsIn(folder);
  onDisk(folder, () => mkdirSync(folder, { recursive: true }));
  using _lock = onDisk(folder, () => takeLock(join(folder, 'prepare.lock'), `The corpus ${folder}`));
  onDisk(folder, () => {
    for (const name of readdirSync(folder)) if (unfinishedTokens.test(name)) rmSync(join(folder, name));
  });
  const counted = async function* (phase: PrepareProgress['phase'], texts: Documents) {
    let done = 0;
    for await (const document of texts) {
      signal?.throwIfAborted();
      yield document;
      onProgress?.({ phase, done: ++done, total: null });
    }
  };
  const both = async function* () {
    yield* documents();
    if (knowledge !== undefined) yield* knowledge();
  };
  const files = given ?? (await trainBytePairs(textsOf(counted('tokenizer', both())), { vocabularySize })).files;
  const tokenizer = openTokenizer(files);
  const isKnowledge = ({ text }: TextDocument) => shareOf(text) < settings.knowledgeShare;
  const quality =
    good === undefined
      ? null
      : {
          classifier: trainClassifier(corruptedExamples(await sampleTexts(textsOf(counted('quality', good()))))),
          least: settings.leastQuality,
        };
  const hasKnowledge = knowledge !== undefined || settings.knowledgeShare > 0;
  await using embedder = hasKnowledge ? await openEmbedder() : null;
  const parts: KnowledgeParts | null = embedder && { tokenizer, header: memoryHeader(tokenizer), embedder };
  // Knowledge of another tokenizer is refused while the old corpus still stands.
  if (parts !== null && existsSync(paths.knowledge)) openKnowledge(paths.knowledge, parts, 'write')[Symbol.dispose]();
  const report = await prepareCorpus(
    filtered(counted('corpus', documents()), (document) => !isKnowledge(document)),
    tokenizer,
    folder,
    {
      sequenceLength: settings.sequenceLength,
      validation: settings.validation,
      ...(quality === null ? {} : { quality }),
      onReplace: () => {
        onDisk(folder, () => rmSync(paths.prepared, { force: true }));
        writeTokenizer(paths.tokenizer, files);
      },
    },
  );
  const summary: PreparedSummary = {
    vocabularySize: tokenizer.vocabularySize,
    sequenceLength: settings.sequenceLength,
    knowledge: null,
  };
  const finish = (complete: PreparedSummary) => {
    onDisk(folder, () => {
      writeFileSync(`${paths.prepared}.unfinished`, `${JSON.stringify(complete, null, 2)}\n`, { flush: true });
      renameSync(`${paths.prepared}.unfinished`, paths.prepared);
    });
    return { ...complete, report };
  };
  if (parts === null) return finish(summary);
  const texts = async function* () {
    yield* filtered(documents(), isKnowledge);
    if (knowledge !== undefined) yield* knowledge();
  };
  const named = withNames(texts());
  using bank = openKnowledge(paths.knowledge, parts, 'write');
  const names = new Set<string>();
  const adding = addKnowledge(bank, parts, counted('knowledge', named), signal === undefined ? {} : { signal });
  for await (const { name } of adding) names.add(name);
  for (const { name } of [...bank.documents()]) if (!names.has(name)) bank.removeDocument(name);
  const find = async (part: 'train' | 'validation', corpus: TokenFile) => {
    let counts = { found: 0, none: 0, refused: 0 };
    if (corpus.count === 0) return counts;
    const finding = writeReferences(
      corpus,
      { bank, embedder: parts.embedder, tokenizer },
      paths[part],
      longestBody(parts),
      {
        maxOverlap: settings.maxOverlap,
      },
    );
    for await (const progress of finding) {
      counts = progress.counts;
      onProgress?.({ phase: `${part} references`, done: progress.done, total: progress.total });
      signal?.throwIfAborted();
    }
    return counts;
  };
  using corpus = openCorpus(folder);
  const [train, validation] = [await find('train', corpus.train), await find('validation', corpus.validation)];
  const { documents: known, references } = bank.stats();
  return finish({ ...summary, knowledge: { documents: known, references, train, validation } });
}

/** What a process that was killed has left of a token file. */
const unfinishedTokens = /\.tokens\.\d+\.unfinished$/;

/** Whether a folder is prepared to the end. */
export function isPrepared(folder: string): boolean {
  return existsSync(pathsIn(folder).prepared);
}

/** A prepared folder, open. Closed by `using`. */
export interface PreparedTraining extends Disposable {
  readonly folder: string;
  readonly summary: PreparedSummary;
  readonly corpus: Corpus;
  /** Null where there is no knowledge. */
  readonly references: { readonly train: ReferenceFile; readonly validation: ReferenceFile | null } | null;
  readonly tokenizerFiles: TokenizerFiles;
  readonly tokenizer: Tokenizer;
}

/**
 * Opens what `prepareTraining` made, and reads all of its tokens once.
 * @throws Memory3Error "not-found" if the folder is not prepared to the end; "damaged"
 */
export function openPrepared(folder: string): PreparedTraining {
  const paths = pathsIn(folder);
  const summary = readJsonFile(paths.prepared, preparedSchema, 'Prepare it first: memory3 train prepare.');
  const tokenizerFiles = readTokenizerFolder(paths.tokenizer);
  using opening = new DisposableStack();
  const corpus = opening.use(openCorpus(folder));
  // A changed token would be trained on without a word: it is still one of the vocabulary.
  corpus.train.verify();
  corpus.validation.verify();
  const opened = (path: string, tokens: TokenFile) => {
    const file = opening.use(new ReferenceFile(path));
    if (file.count === tokens.count) return file;
    throw new Memory3Error(
      'damaged',
      `${path} has references of ${file.count} sequences, the corpus ${tokens.count}.`,
      {
        remedy: 'Prepare the folder again.',
      },
    );
  };
  const references =
    summary.knowledge === null
      ? null
      : {
          train: opened(paths.train, corpus.train),
          validation: corpus.validation.count === 0 ? null : opened(paths.validation, corpus.validation),
        };
  const tokenizer = openTokenizer(tokenizerFiles);
  const resources = opening.move();
  const dispose = () => resources.dispose();
  return { folder, summary, corpus, references, tokenizerFiles, tokenizer, [Symbol.dispose]: dispose };
}

/** @throws Memory3Error "usage" if the corpus has no sequence to measure a model on. */
export function checkMeasurable({ folder, corpus }: PreparedTraining): void {
  if (corpus.validation.count > 0) return;
  throw new Memory3Error('usage', `${folder} has no validation sequence to measure on.`, {
    remedy: 'Prepare it again with more documents, or a larger --validation.',
  });
}

/** The refusal of memories on a corpus that was prepared without knowledge. */
export function noKnowledge(folder: string): Memory3Error {
  return new Memory3Error('usage', `${folder} has no knowledge to make memories of.`, {
    remedy: 'Prepare it again with --knowledge or --knowledge-share.',
  });
}

/** Reads tokenizer.json and tokenizer_config.json of a folder. @throws Memory3Error "not-found"; "damaged" */
export function readTokenizerFolder(folder: string): TokenizerFiles {
  const read = (name: string) => readJsonFile(join(folder, name), z.unknown(), 'Name a folder with a tokenizer.');
  return { kind: 'json', tokenizer: read('tokenizer.json'), config: read('tokenizer_config.json') };
}

function writeTokenizer(folder: string, { tokenizer, config }: TokenizerFiles): void {
  onDisk(folder, () => mkdirSync(folder, { recursive: true }));
  for (const [name, value] of Object.entries({ 'tokenizer.json': tokenizer, 'tokenizer_config.json': config })) {
    onDisk(folder, () => writeFileSync(join(folder, name), `${JSON.stringify(value)}\n`));
  }
}

/** A text's place between 0 and 1. Not the one that decides about validation, or one side would get all of it. */
function shareOf(text: string): number {
  return createHash('sha256').update('knowledge ').update(text, 'utf8').digest().readUIntBE(0, 6) / 2 ** 48;
}

async function* filtered(documents: Documents, keep: (document: TextDocument) => boolean) {
  for await (const document of documents) if (keep(document)) yield document;
}

/** Documents with ids that are theirs alone: of several with one name a bank keeps the last. */
async function* withNames(documents: Documents): AsyncGenerator<TextDocument, void> {
  const taken = new Set<string>();
  const counts = new Map<string, number>();
  for await (const document of documents) {
    let count = counts.get(document.id) ?? 0;
    let name: string;
    do name = ++count === 1 ? document.id : `${document.id} (${count})`;
    while (taken.has(name));
    counts.set(document.id, count);
    taken.add(name);
    yield { ...document, id: name };
  }
}

async function* textsOf(documents: Documents): AsyncGenerator<string, void> {
  for await (const { text } of documents) yield text;
}

function readJsonFile<Schema extends z.ZodType>(path: string, schema: Schema, remedy: string): z.output<Schema> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Memory3Error('not-found', `${path} cannot be read.`, { remedy, cause });
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new Memory3Error('damaged', `${path} is not what it must be.`, { remedy, cause });
  }
}

function pathsIn(folder: string) {
  const path = (name: string) => join(folder, name);
  return {
    tokenizer: path('tokenizer'),
    knowledge: path('knowledge.memory3'),
    train: path('train.references'),
    validation: path('validation.references'),
    prepared: path('prepared.json'),
  };
}
