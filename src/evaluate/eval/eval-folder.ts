/**
 * An evaluation's folder (`record-folder.ts`), with
 *
 *   items.jsonl    a line for each item in each mode (`records.ts`), batch by batch
 *   times.jsonl    a line for each batch: tokens and seconds. All that differs between two runs of the same is in this file
 *   summary.json   cells (`summary.ts`), while everything is measured
 *   examples.json  a few items of each task, for the report (`examples.ts`)
 *   report.html    the report (`report.ts`); it is made of the files above
 *
 * A batch is appended at once and reaches the disk before the next one begins. Of a batch that was cut off the rest is
 * removed and it is measured again; so the folder ends as if nothing had happened.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import { openRecordFolder } from '../record-folder.ts';
import type { TaskExamples } from './examples.ts';
import { type ItemRecord, recordSchema } from './records.ts';
import type { Cell } from './summary.ts';

/** What an evaluation's config.json begins with. */
export const evaluationFormat = 'memory3 eval 1';

export const timesSchema = z.strictObject({
  task: z.string(),
  mode: z.string(),
  items: z.int(),
  tokens: z.int(),
  seconds: z.number(),
});
export type BatchTimes = Readonly<z.output<typeof timesSchema>>;

/** An open, locked evaluation. */
export interface EvaluationFolder extends Disposable {
  readonly path: string;
  /** What was measured before, in order. */
  readonly records: readonly ItemRecord[];
  /** Forgets records after so many: their batch was cut off. */
  keep(count: number): void;
  append(records: readonly ItemRecord[], times: BatchTimes): void;
  saveSummary(cells: readonly Cell[]): void;
  saveExamples(examples: readonly TaskExamples[]): void;
}

/**
 * Begins an evaluation in a folder, or opens the one that is there.
 * @param config as JSON: what may not change between two processes
 * @throws Memory3Error "mismatch" naming what is not what it was, or if the folder holds something else; "locked";
 *   "damaged"; "disk"
 */
export function openEvaluationFolder(path: string, config: Readonly<Record<string, unknown>>): EvaluationFolder {
  using opening = new DisposableStack();
  const folder = opening.use(openRecordFolder(path, { format: evaluationFormat, config }));
  const items = folder.file('items.jsonl', recordSchema);
  const times = folder.file('times.jsonl', timesSchema);
  // A summary says that everything is measured.
  const unfinish = () => onDisk(path, () => rmSync(join(path, 'summary.json'), { force: true }));
  const closing = opening.move();
  return {
    path,
    records: items.records,
    keep: items.keep,
    append(batch, batchTimes) {
      unfinish();
      items.append(batch);
      times.append([batchTimes]);
    },
    saveSummary: folder.saveSummary,
    saveExamples(examples) {
      onDisk(path, () => replaceFile(path, 'examples.json', `${JSON.stringify(examples, null, 2)}\n`));
    },
    [Symbol.dispose]: () => closing.dispose(),
  };
}

/** The SHA-256 of a file, for a configuration. @throws Memory3Error "not-found" */
export function fileHash(path: string): string {
  if (!existsSync(path)) throw new Memory3Error('not-found', `There is no file ${path}.`);
  return onDisk(path, () => createHash('sha256').update(readFileSync(path)).digest('hex'));
}
