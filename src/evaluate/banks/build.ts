/**
 * Builds a bank for evaluation from public data sets, once. Its documents and memories are stored as `memory3 add` stores
 * them, source by source, so a build that was interrupted or killed goes on with what is not there yet. Beside the bank
 * stands what it was built from (`plan.ts`): the same command on a finished bank has nothing to do, and other data or other
 * limits are refused by name, since results of two different banks must not be taken for those of one.
 */
import { existsSync } from 'node:fs';
import { openBank } from '../../bank/sqlite.ts';
import { Memory3Error } from '../../errors.ts';
import { addDocuments, type LibraryEvent, type LibraryParts } from '../../generate/library.ts';
import { type BuildEstimate, bytesOf, estimateBuild } from './estimate.ts';
import {
  type BankPlan,
  type BankRecord,
  checkPlan,
  type PlannedSource,
  plannedDocuments,
  readBankRecord,
  type SourceCounts,
  writeBankRecord,
} from './plan.ts';

export interface BuildOptions {
  /** Write memories too, which is the default; else each is written when it is first recalled. */
  readonly memories?: boolean;
  /** Stops between two commits. */
  readonly signal?: AbortSignal;
}

/** What is left to do, before anything is done. */
export interface EstimateEvent extends BuildEstimate {
  readonly kind: 'estimate';
}

/** Something of a source is in the bank. */
export interface ProgressEvent {
  readonly kind: 'progress';
  readonly source: string;
  readonly event: LibraryEvent;
}

/** A source is in the bank, all that was planned of it. */
export interface SourceEvent extends SourceCounts {
  readonly kind: 'source';
}

/** What a finished bank holds. */
export type FinishedBank = NonNullable<BankRecord['finished']>;

/** Everything is in the bank. */
export interface EndEvent {
  readonly kind: 'end';
  readonly finished: FinishedBank;
}

export type BuildEvent = EstimateEvent | ProgressEvent | SourceEvent | EndEvent;

/**
 * The bank at a path if it is finished, as planned.
 * @throws Memory3Error "mismatch" if it was built from something else or changed since.
 */
export async function finishedBank(
  path: string,
  plan: BankPlan,
  { memories = true }: Pick<BuildOptions, 'memories'> = {},
): Promise<FinishedBank | null> {
  const record = readBankRecord(path);
  if (record === null || !existsSync(path)) return null;
  using bank = openBank(path, { mode: 'read' });
  const stats = bank.stats();
  if (stats.documents === 0) return null;
  await checkPlan(bank, record, plan);
  const { finished } = record;
  if (finished === null || (memories && stats.memories < stats.references)) return null;
  for (const what of ['documents', 'references'] as const) {
    if (stats[what] === finished[what]) continue;
    throw new Memory3Error(
      'mismatch',
      `${path} had ${finished[what]} ${what} when it was built, and has ${stats[what]}.`,
      {
        remedy: `Give the bank another name (--bank), or remove ${path} to build it anew.`,
      },
    );
  }
  return finished;
}

/**
 * Builds a bank, or goes on with one.
 * @param parts with the bank open for writing
 * @throws Memory3Error "mismatch" if the bank holds something else; what reading data and storing throw; the signal's reason.
 * @example
 * const plan = planBank('general', 'data', { limit: 100 });
 * await using workspace = await openWorkspace({ bank: 'general', bankMode: 'write' });
 * for await (const event of buildBank(workspace, plan)) console.log(event.kind);
 */
export async function* buildBank(
  parts: LibraryParts,
  plan: BankPlan,
  options: BuildOptions = {},
): AsyncGenerator<BuildEvent, void> {
  const { bank } = parts;
  const record = readBankRecord(bank.path);
  if (bank.stats().documents > 0) {
    if (record === null) throw foreign(bank.path);
    await checkPlan(bank, record, plan);
  }
  writeBankRecord(bank.path, plan, null);
  const { memories = true, signal } = options;
  const estimate = await estimateBuild(parts, plan, { memories, ...(signal && { signal }) });
  yield { kind: 'estimate', ...estimate };
  const sources: SourceCounts[] = [];
  for (const [index, planned] of plan.sources.entries()) {
    const started = performance.now();
    const source = planned.source.name;
    const names: string[] = [];
    let skipped = 0;
    for await (const event of addDocuments(parts, plannedDocuments(planned, plan.data), options)) {
      if (event.kind === 'document') names.push(event.name);
      else if (event.kind === 'skipped') skipped++;
      yield { kind: 'progress', source, event };
    }
    const available = estimate.sources[index]?.available ?? names.length;
    const seconds = (performance.now() - started) / 1000;
    const counts = { ...countsOf(parts, planned, names), available, skipped, seconds };
    sources.push(counts);
    yield { kind: 'source', ...counts };
  }
  const { documents, references } = bank.stats();
  const finished = { documents, references, sources };
  writeBankRecord(bank.path, plan, finished);
  yield { kind: 'end', finished };
}

/** What stands in the bank under these names. */
function countsOf(
  { bank, model, profile }: LibraryParts,
  { source, limit }: PlannedSource,
  names: readonly string[],
): Omit<SourceCounts, 'available' | 'skipped' | 'seconds'> {
  const counts = { documents: 0, shared: 0, references: 0, tokens: 0, bytes: 0 };
  for (const name of names) {
    const document = bank.document(name);
    if (document === undefined || document.name !== name) {
      counts.shared++;
      continue;
    }
    counts.documents++;
    counts.references += document.references;
    for (const { tokens } of bank.references(document.id)) {
      counts.tokens += tokens.length;
      if (document.memories === document.references) counts.bytes += bytesOf(model, profile, tokens.length);
    }
  }
  return { source: source.name, licence: source.licence, limit, ...counts };
}

function foreign(path: string): Memory3Error {
  return new Memory3Error('mismatch', `${path} has documents that "memory3 eval bank" did not put there.`, {
    remedy: 'Give the bank a name of its own (--bank).',
  });
}
