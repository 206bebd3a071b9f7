/**
 * An evaluation's folder:
 *
 *   config.json    what is measured, and with what
 *   items.jsonl    a line for each item in each mode (`records.ts`), batch by batch
 *   times.jsonl    a line for each batch: tokens and seconds. All that differs between two runs of the same is in this file
 *   summary.json   cells (`summary.ts`), when everything is measured
 *   run.lock       held by the one process that measures
 *
 * A batch is appended at once and reaches the disk before the next one begins. Of a batch that was cut off the rest is
 * removed and it is measured again; so the folder ends as if nothing had happened.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { readJsonLines } from '../../json-lines.ts';
import { takeLock } from '../../lock.ts';
import { differences, onDisk, replaceFile } from '../../train/run-folder.ts';
import { type ItemRecord, recordSchema } from './records.ts';
import type { Cell } from './summary.ts';

const format = 'memory3 eval 1';
const configSchema = z.strictObject({ format: z.literal(format), config: z.record(z.string(), z.json()) });

export interface BatchTimes {
  readonly task: string;
  readonly mode: string;
  readonly items: number;
  readonly tokens: number;
  readonly seconds: number;
}

/** An open, locked evaluation. */
export interface EvaluationFolder extends Disposable {
  readonly path: string;
  /** What was measured before, in order. */
  readonly records: readonly ItemRecord[];
  /** Forgets records after so many: their batch was cut off. */
  keep(count: number): void;
  append(records: readonly ItemRecord[], times: BatchTimes): void;
  saveSummary(cells: readonly Cell[]): void;
}

/**
 * Begins an evaluation in a folder, or opens the one that is there.
 * @param config as JSON: what may not change between two processes
 * @throws Memory3Error "mismatch" naming what is not what it was, or if the folder holds something else; "locked";
 *   "damaged"; "disk"
 */
export function openEvaluationFolder(path: string, config: Readonly<Record<string, unknown>>): EvaluationFolder {
  onDisk(path, () => mkdirSync(path, { recursive: true }));
  using opening = new DisposableStack();
  opening.use(onDisk(path, () => takeLock(join(path, 'run.lock'), `The evaluation ${path}`)));
  const names = onDisk(path, () => readdirSync(path));
  for (const name of names.filter((one) => one.endsWith('.unfinished'))) onDisk(path, () => rmSync(join(path, name)));
  const itemsFile = join(path, 'items.jsonl');
  if (names.includes('config.json')) checkConfig(path, config);
  else if (names.includes('items.jsonl')) throw foreign(path);
  else {
    const text = `${JSON.stringify({ format, config }, null, 2)}\n`;
    onDisk(path, () => replaceFile(path, 'config.json', text));
  }
  onDisk(path, () => cutUnfinishedLine(itemsFile));
  onDisk(path, () => cutUnfinishedLine(join(path, 'times.jsonl')));
  const records = existsSync(itemsFile) ? readJsonLines(itemsFile, recordSchema) : [];
  const lines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');
  const closing = opening.move();
  return {
    path,
    records,
    keep(count) {
      if (count >= records.length) return;
      records.length = count;
      // By bytes: what is kept stays as it was written.
      const text = readFileSync(itemsFile, 'utf8').split('\n').slice(0, count);
      onDisk(path, () => truncateSync(itemsFile, Buffer.byteLength(text.map((line) => `${line}\n`).join(''))));
    },
    append(batch, times) {
      onDisk(path, () => appendFileSync(itemsFile, lines(batch), { flush: true }));
      onDisk(path, () => appendFileSync(join(path, 'times.jsonl'), lines([times])));
      records.push(...batch);
    },
    saveSummary(cells) {
      onDisk(path, () => replaceFile(path, 'summary.json', `${JSON.stringify(cells, null, 2)}\n`));
    },
    [Symbol.dispose]: () => closing.dispose(),
  };
}

/** The SHA-256 of a file, for a configuration. @throws Memory3Error "not-found" */
export function fileHash(path: string): string {
  if (!existsSync(path)) throw new Memory3Error('not-found', `There is no file ${path}.`);
  return onDisk(path, () => createHash('sha256').update(readFileSync(path)).digest('hex'));
}

function checkConfig(path: string, config: Readonly<Record<string, unknown>>): void {
  const parsed = configSchema.safeParse(parseJson(join(path, 'config.json')));
  if (!parsed.success) throw foreign(path);
  // What JSON leaves out is no difference.
  const changed = differences(parsed.data.config, JSON.parse(JSON.stringify(config)));
  if (changed.length === 0) return;
  const words = changed.map(({ field, from, to }) => `${field} was ${JSON.stringify(from)}, is ${JSON.stringify(to)}`);
  throw new Memory3Error('mismatch', `The evaluation ${path} was begun otherwise: ${words.join('; ')}.`, {
    remedy: 'Go on with what its config.json says, or evaluate into another folder.',
  });
}

function foreign(path: string): Memory3Error {
  return new Memory3Error('mismatch', `${path} holds no evaluation, but files that one would write.`, {
    remedy: 'Give the evaluation a folder of its own.',
  });
}

function parseJson(file: string): unknown {
  try {
    return JSON.parse(onDisk(file, () => readFileSync(file, 'utf8')));
  } catch (cause) {
    if (cause instanceof Memory3Error) throw cause;
    throw new Memory3Error('damaged', `${file} is not JSON.`, { cause });
  }
}

function cutUnfinishedLine(file: string): void {
  if (!existsSync(file)) return;
  const bytes = readFileSync(file);
  const end = bytes.lastIndexOf(10) + 1;
  if (end < bytes.length) truncateSync(file, end);
}
