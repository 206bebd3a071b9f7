/**
 * From texts to training sequences (paper 4.2), as a stream:
 *
 *   documents -> rules -> near duplicates -> quality classifier -> tokens -> train or validation -> sequences of one length
 *
 * One document is held at a time, besides the signatures of the near duplicates. Documents stand behind one another in the
 * sequences, each behind the document-start token, and run on from one sequence into the next. Which part a document
 * belongs to is decided by its text's hash, so that it stays there when others come or go. Everything that is left out is
 * counted in the report.
 *
 * The folder has `train.tokens`, `validation.tokens` and `report.json`. The report is removed first and written last: a
 * folder without one is not finished.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { wordsOf } from '../../bank/words.ts';
import { onDisk } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import type { QualityClassifier } from './classifier.ts';
import { type NearDuplicateOptions, NearDuplicates } from './minhash.ts';
import type { TextDocument } from './readers.ts';
import { brokenRules, defaultRuleLimits, measureText, type RuleLimits, ruleNames } from './rules.ts';
import { TokenFile, TokenFileWriter } from './token-file.ts';

export interface CorpusOptions {
  /** Tokens in a sequence. */
  readonly sequenceLength: number;
  /** Share of the documents that validation gets; default 0.01. */
  readonly validation?: number;
  /** What differs from `defaultRuleLimits`; null: no rules. */
  readonly rules?: Partial<RuleLimits> | null;
  /** null: duplicates stay. */
  readonly duplicates?: NearDuplicateOptions | null;
  /** A document with a lower score than `least` is left out; none is unless given. */
  readonly quality?: { readonly classifier: QualityClassifier; readonly least: number };
  /** Told what became of each document. */
  readonly onDocument?: (document: TextDocument, outcome: DocumentOutcome) => void;
  /** Aborts between two documents; what stood in the folder stays. */
  readonly signal?: AbortSignal;
  /** Called just before what stood in the folder gives way: until then a failure changes nothing there. */
  readonly onReplace?: () => void;
}

export type DocumentOutcome =
  | { readonly kind: 'train' | 'validation'; readonly tokens: number }
  /** Left out, with the rules that it broke, the estimated similarity, or its score. */
  | { readonly kind: 'rules'; readonly broken: readonly string[] }
  | { readonly kind: 'duplicate'; readonly similarity: number }
  | { readonly kind: 'low-quality'; readonly score: number };

const count = z.int().nonnegative();
const partSchema = z.strictObject({
  documents: count,
  /** UTF-16 code units. */
  characters: count,
  /** With the document-start tokens; `sequences` times the sequence length, and `tailTokens`. */
  tokens: count,
  sequences: count,
  /** The last tokens, which did not fill a sequence and are left out. */
  tailTokens: count,
});
const reportSchema = z.strictObject({
  sequenceLength: z.int().positive(),
  documents: count,
  characters: count,
  removed: z.strictObject({
    /** Documents that broke rules; below how many broke each (one document can break several). */
    rules: count,
    byRule: z.record(z.enum(ruleNames), count),
    duplicates: count,
    lowQuality: count,
    /** UTF-16 code units of all of them. */
    characters: count,
  }),
  /** Documents kept whose tokens decode to another text: normalisation, or characters that the vocabulary lacks. */
  alteredByTokenizer: count,
  train: partSchema,
  validation: partSchema,
});
/** What became of the documents; nothing else was left out. */
export type CorpusReport = z.infer<typeof reportSchema>;

type Mutable<T> = { -readonly [K in keyof T]: Mutable<T[K]> };

/**
 * Prepares a corpus in `folder`, replacing the one that is there when it is complete.
 * @throws Memory3Error "usage" for wrong options or if nothing is left to train on; "disk"; what the documents throw.
 * @example
 * const report = await prepareCorpus(readDocuments(['texts/']), tokenizer, 'corpus', { sequenceLength: 512 });
 */
export async function prepareCorpus(
  documents: AsyncIterable<TextDocument> | Iterable<TextDocument>,
  tokenizer: Pick<Tokenizer, 'bosTokenId' | 'decode' | 'encode' | 'vocabularySize'>,
  folder: string,
  options: CorpusOptions,
): Promise<CorpusReport> {
  const { sequenceLength, validation = 0.01 } = options;
  if (!(validation >= 0 && validation < 1)) {
    throw new Memory3Error('usage', `Validation gets a share of the documents from 0 to below 1, not ${validation}.`);
  }
  const report = emptyReport(sequenceLength);
  const filter = makeFilter(options, report);
  onDisk(folder, () => mkdirSync(folder, { recursive: true }));
  const shape = { sequenceLength, vocabularySize: tokenizer.vocabularySize, documentStart: tokenizer.bosTokenId };
  const paths = pathsIn(folder);
  using train = new TokenFileWriter(paths.train, shape);
  using held = new TokenFileWriter(paths.validation, shape);
  for await (const document of documents) {
    options.signal?.throwIfAborted();
    const { text } = document;
    report.documents++;
    report.characters += text.length;
    const removed = filter(text);
    if (removed !== null) {
      report.removed.characters += text.length;
      options.onDocument?.(document, removed);
      continue;
    }
    const tokens = tokenizer.encode(text);
    if (tokenizer.decode(tokens) !== text) report.alteredByTokenizer++;
    const kind = hashedShare(text) < validation ? 'validation' : 'train';
    const part = report[kind];
    part.documents++;
    part.characters += text.length;
    part.tokens += tokens.length + 1;
    (kind === 'train' ? train : held).add(tokens);
    options.onDocument?.(document, { kind, tokens: tokens.length });
  }
  if (report.train.tokens < sequenceLength) {
    throw new Memory3Error('usage', `Nothing to train on is left of ${report.documents} documents.`, {
      remedy: `A sequence has ${sequenceLength} tokens, there are ${report.train.tokens}; left out: ${JSON.stringify(report.removed)}.`,
    });
  }
  options.onReplace?.();
  onDisk(folder, () => rmSync(paths.report, { force: true }));
  Object.assign(report.train, train.finish());
  Object.assign(report.validation, held.finish());
  onDisk(folder, () => {
    writeFileSync(`${paths.report}.unfinished`, `${JSON.stringify(report, null, 2)}\n`, { flush: true });
    renameSync(`${paths.report}.unfinished`, paths.report);
  });
  return report;
}

/** A prepared corpus. Closed by `using`. */
export interface Corpus extends Disposable {
  readonly train: TokenFile;
  readonly validation: TokenFile;
  readonly report: CorpusReport;
}

/**
 * Opens what `prepareCorpus` made.
 * @throws Memory3Error "not-found" if the folder has no finished corpus, "damaged".
 */
export function openCorpus(folder: string): Corpus {
  const paths = pathsIn(folder);
  const report = readReport(paths.report);
  using opening = new DisposableStack();
  const train = opening.use(new TokenFile(paths.train));
  const validation = opening.use(new TokenFile(paths.validation));
  if (train.count !== report.train.sequences || validation.count !== report.validation.sequences) {
    throw new Memory3Error('damaged', `${folder}: the report and the token files do not belong together.`, {
      remedy: 'Prepare the corpus again.',
    });
  }
  const resources = opening.move();
  return { train, validation, report, [Symbol.dispose]: () => resources.dispose() };
}

/** Says for each text why it is left out, or null, and counts it. */
function makeFilter(options: CorpusOptions, report: Mutable<CorpusReport>): (text: string) => DocumentOutcome | null {
  const limits = options.rules === null ? null : { ...defaultRuleLimits, ...options.rules };
  const duplicates = options.duplicates === null ? null : new NearDuplicates(options.duplicates);
  return (text) => {
    const words = wordsOf(text);
    const broken = limits === null ? [] : brokenRules(measureText(text, words), limits);
    if (broken.length > 0) {
      report.removed.rules++;
      for (const name of broken) report.removed.byRule[name]++;
      return { kind: 'rules', broken };
    }
    const duplicate = duplicates?.add(words) ?? null;
    if (duplicate !== null) {
      report.removed.duplicates++;
      return { kind: 'duplicate', similarity: duplicate.similarity };
    }
    const score = options.quality?.classifier.score(text) ?? 1;
    if (score >= (options.quality?.least ?? 0)) return null;
    report.removed.lowQuality++;
    return { kind: 'low-quality', score };
  };
}

/** A text's place between 0 and 1, by its sha256. */
function hashedShare(text: string): number {
  return createHash('sha256').update(text, 'utf8').digest().readUIntBE(0, 6) / 2 ** 48;
}

function emptyReport(sequenceLength: number): Mutable<CorpusReport> {
  const part = () => ({ documents: 0, characters: 0, tokens: 0, sequences: 0, tailTokens: 0 });
  const byRule = Object.fromEntries(ruleNames.map((name) => [name, 0])) as CorpusReport['removed']['byRule'];
  return {
    sequenceLength,
    documents: 0,
    characters: 0,
    removed: { rules: 0, byRule, duplicates: 0, lowQuality: 0, characters: 0 },
    alteredByTokenizer: 0,
    train: part(),
    validation: part(),
  };
}

function readReport(path: string): CorpusReport {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Memory3Error('not-found', `There is no finished corpus: ${path} cannot be read.`, {
      cause,
      remedy: 'Prepare the corpus first.',
    });
  }
  try {
    return reportSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new Memory3Error('damaged', `${path} is no report of a corpus.`, { cause, remedy: 'Prepare it again.' });
  }
}

function pathsIn(folder: string): { train: string; validation: string; report: string } {
  const [train, validation, report] = ['train.tokens', 'validation.tokens', 'report.json'].map((name) =>
    join(folder, name),
  );
  return { train, validation, report } as { train: string; validation: string; report: string };
}
