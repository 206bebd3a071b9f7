/**
 * An evaluation: tasks, each in every mode, into a folder that survives kills (`eval-folder.ts`).
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { StoredReference } from '../../bank/bank.ts';
import { checkOptions, Memory3Error } from '../../errors.ts';
import type { Answerer } from '../../generate/answer.ts';
import type { OpenedModel, Workspace } from '../../generate/workspace.ts';
import { profileIdentity } from '../../memory/choose-profile.ts';
import { parameterCount } from '../../train/scratch/new-model.ts';
import { describeBank } from '../banks/holdings.ts';
import { checkBuilt } from '../banks/plan.ts';
import { taskNamed } from '../tasks/all.ts';
import { readMaterial, type Task } from '../tasks/task.ts';
import { checkComparable } from './compare.ts';
import { type EvaluationFolder, fileHash, openEvaluationFolder } from './eval-folder.ts';
import { examplesOf } from './examples.ts';
import { batchesOf, type EvaluationParts, type Measurement, measureBatch } from './measure.ts';
import { EvaluationMemories } from './memories.ts';
import { type Mode, mostRecalled } from './modes.ts';
import type { ItemRecord } from './records.ts';
import { defaultOverlap, ReferenceFinder } from './references.ts';
import { type RunReport, reportRun, summaryOf } from './report.ts';
import { readStoredRun } from './stored-run.ts';
import type { Cell } from './summary.ts';

export const evaluationOptionsSchema = z.strictObject({
  /** Names of tasks, in the order of the report. */
  tasks: z.array(z.string()).nonempty(),
  /** Items of each task. */
  limit: z.int().min(1).default(200),
  /** The same for single tasks. */
  limits: z.record(z.string(), z.int().min(1)).default({}),
  /** Solved items before each prompt. */
  shots: z.int().min(0).max(100).default(0),
  /** Draws items and shots, and the intervals' samples. */
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  /** Contexts begin with the model's document-start token, in every mode. */
  documentStart: z.boolean().default(true),
  /** Without items that the adapter that ships was trained on, in tasks that have others. */
  heldOut: z.boolean().default(false),
  /** Greatest overlap of a reference with its item (Eq. 6); null: no filter. */
  overlap: z.number().min(0).max(1).nullable().default(defaultOverlap),
});
export type EvaluationOptions = z.input<typeof evaluationOptionsSchema>;

export interface EvaluationRequest extends EvaluationOptions {
  /** The evaluation's folder. */
  readonly folder: string;
  /** Where the data sets' folders are. */
  readonly data: string;
  readonly modes: readonly Mode[];
  /** Another run's folder, with which this one is compared at the end. */
  readonly compare?: string;
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
}

/** A batch is measured and in the folder. */
export interface BatchEvent {
  readonly kind: 'batch';
  readonly task: string;
  readonly mode: string;
  /** Items in modes: measured, and all. */
  readonly done: number;
  readonly total: number;
  readonly tokensPerSecond: number;
}

/** Everything is measured, and the report written. */
export interface SummaryEvent extends RunReport {
  readonly kind: 'summary';
  readonly cells: readonly Cell[];
}

export type EvaluationEvent = BatchEvent | SummaryEvent;

/** What is evaluated: a model, with a bank unless all modes do without. */
export type Evaluated = OpenedModel & Pick<Answerer, 'recall'> & Partial<Pick<Workspace, 'bank'>>;

/**
 * Evaluates, or goes on with an evaluation. At the end, and when it is interrupted, a report is in the folder (`report.ts`).
 * @throws Memory3Error "usage" for unknown tasks, too few shots or no references to recall; "mismatch" if the folder is of
 *   another evaluation, or as `checkComparable`; "not-found" or "damaged" for data; "locked"; "disk"; the signal's reason.
 */
export async function* evaluate(
  evaluated: Evaluated,
  { folder: path, data, modes, compare, signal, ...given }: EvaluationRequest,
): AsyncGenerator<EvaluationEvent, void> {
  const options = checkOptions(evaluationOptionsSchema, given);
  const tasks = options.tasks.map(taskNamed);
  const twice = options.tasks.find((name, index) => options.tasks.indexOf(name) !== index);
  if (twice !== undefined) throw new Memory3Error('usage', `The task ${twice} is there twice.`);
  for (const { name } of Object.keys(options.limits).map(taskNamed)) {
    if (!options.tasks.includes(name)) {
      throw new Memory3Error('usage', `There is a limit for ${name}, which is not among the tasks.`, {
        remedy: `Leave it out, or evaluate ${name} too.`,
      });
    }
  }
  const parts = partsOf(evaluated, modes, options.overlap);
  const gold = modes.some((mode) => mode.gold);
  const materials = tasks.map((task) => {
    const limit = options.limits[task.name] ?? options.limit;
    return readMaterial(task, data, { ...options, limit, gold });
  });
  const names = modes.map(({ name }) => name);
  // Before hours of measuring, so that a wrong folder is named now.
  if (compare !== undefined)
    checkComparable({ path, config: { tasks: options.tasks, modes: names } }, readStoredRun(compare));
  using folder = openEvaluationFolder(path, {
    ...options,
    modes: names,
    data: tasks.map((task) => filesOf(task, data, options.shots, gold)),
    ...(await identityOf(evaluated)),
  });
  const saveExamples = () => {
    const byTask = Map.groupBy(folder.records, ({ task }) => task);
    const find = (id: number) => referenceIn(evaluated.bank, id);
    const all = tasks.map((task, index) =>
      examplesOf(task, materials[index]?.items ?? [], byTask.get(task.name) ?? [], names, find),
    );
    folder.saveExamples(all);
  };
  const total = materials.reduce((sum, { items }) => sum + items.length * modes.length, 0);
  let done = 0;
  for (const [index, task] of tasks.entries()) {
    parts.finder?.forget();
    for (const mode of modes) {
      const material = materials[index] as (typeof materials)[number];
      const measurement: Measurement = { task, material, mode, documentStart: options.documentStart };
      for (const batch of batchesOf(measurement, parts.tokenizer)) {
        const isKnown = known(folder, done, task, mode, batch);
        if (!isKnown) {
          if (signal?.aborted === true) {
            saveExamples();
            const stored = readStoredRun(path);
            await reportRun(stored, summaryOf(stored));
            throw signal.reason;
          }
          folder.keep(done);
          const started = performance.now();
          const { records, tokens } = await measureBatch(parts, measurement, batch);
          const seconds = (performance.now() - started) / 1000;
          folder.append(records, { task: task.name, mode: mode.name, items: batch.length, tokens, seconds });
          const tokensPerSecond = tokens / seconds;
          yield { kind: 'batch', task: task.name, mode: mode.name, done: done + batch.length, total, tokensPerSecond };
        }
        done += batch.length;
      }
    }
  }
  if (folder.records.length > done) throw unexpected(path, done);
  const run = { ...readStoredRun(path), complete: true };
  const summary = summaryOf(run);
  saveExamples();
  folder.saveSummary(summary.cells);
  yield { kind: 'summary', cells: summary.cells, ...(await reportRun(run, summary, compare)) };
}

/** Null for one that was removed from the bank since it was measured with. */
function referenceIn(bank: Evaluated['bank'], id: number): StoredReference | null {
  try {
    return bank?.reference(id) ?? null;
  } catch (error) {
    if (error instanceof Memory3Error && error.code === 'not-found') return null;
    throw error;
  }
}

/**
 * Whether a batch is in the folder already, as the next `batch.length` records after `first`.
 * @throws Memory3Error "damaged" if other items are
 */
function known(
  { path, records }: EvaluationFolder,
  first: number,
  task: Task,
  mode: Mode,
  batch: readonly { readonly id: string }[],
): boolean {
  const there = records.slice(first, first + batch.length);
  const isSame = (record: ItemRecord, index: number) =>
    record.task === task.name && record.mode === mode.name && record.id === batch[index]?.id;
  const wrong = there.findIndex((record, index) => !isSame(record, index));
  if (wrong === -1) return there.length === batch.length;
  throw unexpected(path, first + wrong);
}

function unexpected(path: string, record: number): Memory3Error {
  const where = `${join(path, 'items.jsonl')}, line ${record + 1}`;
  return new Memory3Error('damaged', `${where}: this item is not expected here.`, {
    remedy: 'Evaluate into another folder.',
  });
}

function partsOf(evaluated: Evaluated, modes: readonly Mode[], overlap: number | null): EvaluationParts {
  const { model, tokenizer, bank = null, profile, repeatPrompt } = evaluated;
  if (modes.every(({ references }) => references === 0)) return { model, tokenizer, finder: null, memories: null };
  const memories = new EvaluationMemories({ model, profile, modes, bank, repeatPrompt });
  const most = mostRecalled(modes);
  if (most === 0) return { model, tokenizer, finder: null, memories };
  const finder = new ReferenceFinder(recallOf(evaluated), tokenizer, { most, overlap });
  return { model, tokenizer, finder, memories };
}

/** What modes recall with. @throws Memory3Error "usage" if there is no bank, or an empty or unfinished one */
export function recallOf({ bank, recall }: Pick<Evaluated, 'bank' | 'recall'>): NonNullable<Evaluated['recall']> {
  if (bank === undefined || recall === null || recall.references === 0) {
    throw new Memory3Error('usage', 'The modes memory and rag need a bank with references in it.', {
      remedy: 'Add texts (memory3 add) and name the bank (--bank), or evaluate with --modes none.',
    });
  }
  checkBuilt(bank.path);
  return recall;
}

/** What the results depend on, for the configuration. */
export async function identityOf(
  evaluated: Pick<Evaluated, 'file' | 'adapter' | 'model' | 'profile' | 'bank'>,
): Promise<Record<string, unknown>> {
  const { file, adapter, model, profile, bank } = evaluated;
  return {
    model: {
      name: file.name,
      fingerprint: await file.fingerprint(),
      adapter: adapter !== null,
      parameters: parameterCount(file.config).total,
    },
    profile: profileIdentity(profile, model),
    bank: bank === undefined ? null : describeBank(bank),
  };
}

function filesOf(
  { name, file, shots, gold }: Task,
  data: string,
  count: number,
  isGoldWanted: boolean,
): Record<string, unknown> {
  const source =
    count > 0 && shots !== null && shots !== 'own' ? { shots, shotsHash: fileHash(join(data, shots)) } : {};
  const passages = isGoldWanted ? (gold?.file ?? null) : null;
  const own = passages === null ? {} : { gold: passages, goldHash: fileHash(join(data, passages)) };
  return { task: name, file, hash: fileHash(join(data, file)), ...source, ...own };
}
