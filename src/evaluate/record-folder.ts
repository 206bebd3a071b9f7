/**
 * A folder of what was measured, which survives kills:
 *
 *   config.json    what is measured, and with what; another measurement is refused
 *   *.jsonl        what was measured so far, appended and on the disk before anything else begins
 *   summary.json   what it comes to, when everything is measured
 *   run.lock       held by the one process that measures
 *
 * A line that was cut off is removed; it is measured again.
 */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { differences, inWords } from '../differences.ts';
import { onDisk, replaceFile } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import { readJsonLines } from '../json-lines.ts';
import { takeLock } from '../lock.ts';

const configSchema = z.strictObject({ format: z.string(), config: z.record(z.string(), z.json()) });

/** An open, locked folder. */
export interface RecordFolder extends Disposable {
  readonly path: string;
  /** @throws Memory3Error "damaged" naming a line that is no record */
  file<T>(name: string, schema: z.ZodType<T>): RecordFile<T>;
  saveSummary(summary: unknown): void;
}

/** A file of JSON lines that grows. */
export interface RecordFile<T> {
  /** What is in it, in order. */
  readonly records: readonly T[];
  /** Forgets records after so many. */
  keep(count: number): void;
  append(records: readonly T[]): void;
}

export interface RecordFolderOptions {
  /** Of which program the folder is: "memory3 eval 1". */
  readonly format: string;
  /** As JSON: what may not change between two processes. */
  readonly config: Readonly<Record<string, unknown>>;
}

/**
 * Begins a measurement in a folder, or opens the one that is there.
 * @throws Memory3Error "mismatch" naming what is not what it was, or if the folder holds something else; "locked";
 *   "damaged"; "disk"
 */
export function openRecordFolder(path: string, { format, config }: RecordFolderOptions): RecordFolder {
  // Before the lock, which would leave a file in a folder that is refused.
  checkFolder(path, format, config);
  onDisk(path, () => mkdirSync(path, { recursive: true }));
  using opening = new DisposableStack();
  opening.use(onDisk(path, () => takeLock(join(path, 'run.lock'), `The evaluation ${path}`)));
  if (!checkFolder(path, format, config)) {
    const text = `${JSON.stringify({ format, config }, null, 2)}\n`;
    onDisk(path, () => replaceFile(path, 'config.json', text));
  }
  const closing = opening.move();
  return {
    path,
    file: (name, schema) => openRecordFile(path, name, schema),
    saveSummary(summary) {
      onDisk(path, () => replaceFile(path, 'summary.json', `${JSON.stringify(summary, null, 2)}\n`));
    },
    [Symbol.dispose]: () => closing.dispose(),
  };
}

/** @returns whether it has been begun. @throws Memory3Error "mismatch" as `openRecordFolder`; "damaged" */
function checkFolder(path: string, format: string, config: Readonly<Record<string, unknown>>): boolean {
  const names = onDisk(path, () => (existsSync(path) ? readdirSync(path) : []));
  if (names.includes('config.json')) {
    checkConfig(path, format, config);
    return true;
  }
  if (names.some((name) => name.endsWith('.jsonl'))) throw foreign(path);
  return false;
}

function openRecordFile<T>(path: string, name: string, schema: z.ZodType<T>): RecordFile<T> {
  const file = join(path, name);
  onDisk(path, () => cutUnfinishedLine(file));
  const records = existsSync(file) ? readJsonLines(file, schema) : [];
  return {
    records,
    keep(count) {
      if (count >= records.length) return;
      records.length = count;
      // By bytes: what is kept stays as it was written.
      const text = readFileSync(file, 'utf8').split('\n').slice(0, count);
      onDisk(path, () => truncateSync(file, Buffer.byteLength(text.map((line) => `${line}\n`).join(''))));
    },
    append(more) {
      const lines = more.map((value) => `${JSON.stringify(value)}\n`).join('');
      onDisk(path, () => appendFileSync(file, lines, { flush: true }));
      records.push(...more);
    },
  };
}

function checkConfig(path: string, format: string, config: Readonly<Record<string, unknown>>): void {
  const parsed = configSchema.safeParse(parseJson(join(path, 'config.json')));
  if (!parsed.success || parsed.data.format !== format) throw foreign(path);
  // What JSON leaves out is no difference.
  const changed = differences(parsed.data.config, JSON.parse(JSON.stringify(config)));
  if (changed.length === 0) return;
  throw new Memory3Error('mismatch', `The evaluation ${path} was begun otherwise: ${inWords(changed)}.`, {
    remedy: 'Go on with what its config.json says, or evaluate into another folder.',
  });
}

function foreign(path: string): Memory3Error {
  return new Memory3Error('mismatch', `${path} holds no such evaluation, but files that one would write.`, {
    remedy: 'Give the evaluation a folder of its own.',
  });
}

function parseJson(file: string): unknown {
  try {
    return JSON.parse(onDisk(file, () => readFileSync(file, 'utf8')));
  } catch (cause) {
    if (cause instanceof Memory3Error) throw cause;
    throw new Memory3Error('damaged', `${file} is not JSON.`, {
      remedy: 'Restore it from a copy, or evaluate into another folder.',
      cause,
    });
  }
}

function cutUnfinishedLine(file: string): void {
  if (!existsSync(file)) return;
  const bytes = readFileSync(file);
  const end = bytes.lastIndexOf(10) + 1;
  if (end < bytes.length) truncateSync(file, end);
}
