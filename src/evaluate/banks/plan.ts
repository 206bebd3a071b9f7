/** What a bank for evaluation is to hold, and where it is written down: `<bank>.sources.json` beside the bank's file. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { MemoryBank } from '../../bank/bank.ts';
import { differences } from '../../differences.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import type { SourceText } from '../../generate/library.ts';
import { readTextFile } from '../../model/binary-file.ts';
import { parseStrictJson } from '../../model/strict-json.ts';
import type { SkippedSource } from '../../retrieval/documents.ts';
import { fileHash } from '../eval/eval-folder.ts';
import { type BankSource, isFrom } from './source.ts';
import { type BankKind, bankKinds, sourcesOf } from './sources.ts';

/** A source and how much of it. */
export interface PlannedSource {
  readonly source: BankSource;
  /** Its first so many documents; null: all. */
  readonly limit: number | null;
  /** SHA-256 of each of its files. */
  readonly files: Readonly<Record<string, string>>;
}

export interface BankPlan {
  readonly kind: BankKind;
  /** Where the data sets' folders are. */
  readonly data: string;
  readonly sources: readonly PlannedSource[];
}

export interface PlanOptions {
  /** Names of sources; default all of the bank. */
  readonly sources?: readonly string[];
  /** Documents of each source; default all. */
  readonly limit?: number;
  /** The same for single sources. */
  readonly limits?: Readonly<Record<string, number>>;
}

/**
 * Plans a bank.
 * @throws Memory3Error "usage" for an unknown source; "not-found" for a data file that is missing; "disk".
 * @example planBank('general', 'data', { sources: ['squad', 'cuad'], limits: { cuad: 20 } })
 */
export function planBank(kind: BankKind, data: string, options: PlanOptions = {}): BankPlan {
  const chosen = sourcesOf(kind, options.sources);
  const other = sourcesOf(kind, Object.keys(options.limits ?? {})).find((source) => !chosen.includes(source));
  if (other !== undefined) {
    throw new Memory3Error('usage', `There is a limit for ${other.name}, which is not among the sources.`, {
      remedy: `Leave it out, or add ${other.name} to --sources.`,
    });
  }
  const sources = chosen.map((source): PlannedSource => {
    const limit = options.limits?.[source.name] ?? options.limit ?? null;
    return { source, limit, files: Object.fromEntries(source.files.map((file) => [file, hashOf(data, file)])) };
  });
  return { kind, data, sources };
}

function hashOf(data: string, file: string): string {
  const path = join(data, file);
  if (existsSync(path)) return fileHash(path);
  throw new Memory3Error('not-found', `The data file ${path} is missing.`, {
    remedy: 'Name the folder that has it (--data); `memory3 eval bank` can do without its source (--sources).',
  });
}

/** The planned documents of a source, and those that are skipped. */
export async function* plannedDocuments(
  { source, limit }: PlannedSource,
  data: string,
): AsyncGenerator<SourceText | SkippedSource, void> {
  let count = 0;
  for await (const document of source.read(data)) {
    if (limit !== null && count === limit) return;
    if (!('skipped' in document)) count++;
    yield document;
  }
}

const natural = z.int().nonnegative();

/** What a source came to in the bank. */
const sourceCountsSchema = z.strictObject({
  source: z.string(),
  licence: z.string(),
  /** Documents that the data has, and the most that were asked for; null: all. */
  available: natural,
  limit: natural.nullable(),
  /** Documents that are stored for it, and those that were there already, under another name. */
  documents: natural,
  shared: natural,
  /** Without any text. */
  skipped: natural,
  /** Of its own documents. */
  references: natural,
  /** Body tokens of these. */
  tokens: natural,
  /** Bytes of the memories that are written. */
  bytes: natural,
  /** That the last build took for it. */
  seconds: z.number().nonnegative(),
});
export type SourceCounts = z.output<typeof sourceCountsSchema>;

const format = 'memory3 evaluation bank 1';
const plannedSchema = z.strictObject({
  kind: z.enum(bankKinds),
  sources: z.record(z.string(), z.strictObject({ limit: natural.nullable(), files: z.record(z.string(), z.string()) })),
});
const recordSchema = z.strictObject({
  format: z.literal(format),
  planned: plannedSchema,
  /** Null until the bank has everything. */
  finished: z
    .strictObject({ documents: natural, references: natural, sources: z.array(sourceCountsSchema) })
    .nullable(),
});

/** What a bank was built from. */
export type BankRecord = Omit<z.output<typeof recordSchema>, 'format'>;

const longestRecord = 1 << 22;

function recordPath(bank: string): string {
  return `${bank}.sources.json`;
}

/** What the bank at a path was built from; null if `eval bank` did not build it. @throws Memory3Error "damaged"; "disk" */
export function readBankRecord(bank: string): BankRecord | null {
  const path = recordPath(bank);
  if (!existsSync(path)) return null;
  const { text, damaged } = readTextFile(
    path,
    longestRecord,
    'Restore it from a copy, or remove the bank and it to build both anew.',
  );
  const parsed = recordSchema.safeParse(parseStrictJson(text, damaged));
  if (!parsed.success) throw damaged(z.prettifyError(parsed.error));
  return parsed.data;
}

/** Refuses a bank that is still being built: what is measured with it could not be measured again. */
export function checkBuilt(bank: string): void {
  if (readBankRecord(bank)?.finished !== null) return;
  throw new Memory3Error('usage', `The bank ${bank} is not finished.`, {
    remedy: 'Go on with building it first: the same "memory3 eval bank" that began it.',
  });
}

export function writeBankRecord(bank: string, plan: BankPlan, finished: BankRecord['finished']): void {
  const text = `${JSON.stringify({ format, planned: plannedOf(plan), finished }, null, 2)}\n`;
  onDisk(dirname(bank), () => replaceFile(dirname(bank), basename(recordPath(bank)), text));
}

function plannedOf({ kind, sources }: BankPlan): BankRecord['planned'] {
  return {
    kind,
    sources: Object.fromEntries(sources.map(({ source, limit, files }) => [source.name, { limit, files }])),
  };
}

/**
 * Refuses a plan that is not what the bank was built from.
 * @throws Memory3Error "mismatch" that says what is another, and which documents are.
 */
export async function checkPlan(bank: MemoryBank, { planned }: BankRecord, plan: BankPlan): Promise<void> {
  const changed = differences(planned, plannedOf(plan));
  if (changed.length === 0) return;
  const words = changed.map(({ field, from, to }) => `${field} was ${shown(from)}, is ${shown(to)}`);
  const documents: string[] = [];
  for (const one of plan.sources) {
    const isChanged = changed.some(({ field }) => field.startsWith(`sources.${one.source.name}.files`));
    if (isChanged) documents.push(`${one.source.name} has ${await documentChanges(bank, one, plan.data)}`);
  }
  throw new Memory3Error(
    'mismatch',
    [`${bank.path} was built from something else.`, ...words, ...documents].join('\n'),
    {
      remedy: `Give the bank another name (--bank), or remove ${bank.path} to build it anew.`,
    },
  );
}

/** Hashes by their beginnings, everything else as JSON. */
function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.replace(/\b([0-9a-f]{8})[0-9a-f]{56}\b/g, '$1...');
}

async function documentChanges(bank: MemoryBank, planned: PlannedSource, data: string): Promise<string> {
  const changes: Record<'new' | 'changed' | 'gone', string[]> = { new: [], changed: [], gone: [] };
  const present = new Set<string>();
  for await (const document of plannedDocuments(planned, data)) {
    if ('skipped' in document) continue;
    const { name, text } = document;
    present.add(name);
    const outcome = bank.compare(name, text);
    if (outcome === 'replaced') changes.changed.push(name);
    else if (outcome !== 'unchanged') changes.new.push(name);
  }
  for (const { name, aliases } of bank.documents()) {
    for (const one of [name, ...aliases]) {
      if (isFrom(planned.source, one) && !present.has(one)) changes.gone.push(one);
    }
  }
  const words = Object.entries(changes).map(
    ([what, names]) => `${names.length} ${what}${names.length === 0 ? '' : ` (${names.slice(0, 3).join(', ')})`}`,
  );
  return `documents that are ${words.join(', ')}`;
}
