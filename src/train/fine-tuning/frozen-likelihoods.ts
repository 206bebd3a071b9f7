/**
 * What the frozen model says of every preference, computed once and kept in the run's folder as JSON Lines:
 *
 *   {"format": "memory3 frozen likelihoods 1", "fingerprint": "..."}    what decides the numbers: model, data, references
 *   {"chosen": -41.2, "rejected": -60.9}                                one line a pair, in order
 *
 * A line is written as soon as its pair is done. Interrupted, the next process goes on behind the last whole line; what a crash
 * may have left behind that is no such line is cut off and computed again.
 */
import { closeSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { onDisk } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import { takeLock } from '../../lock.ts';

/** Log-likelihoods of a pair's answers, nats, each summed over the answer's tokens. */
export interface PairLikelihoods {
  readonly chosen: number;
  readonly rejected: number;
}

export interface FrozenOptions {
  /** Whether likelihoods of something else give way, and are not refused: what a run validates with may change. */
  readonly replace?: boolean;
  /** Ends between two pairs. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

const format = 'memory3 frozen likelihoods 1';
const headerSchema = z.strictObject({ format: z.literal(format), fingerprint: z.string() });
const lineSchema = z.strictObject({ chosen: z.number(), rejected: z.number() });

/**
 * The likelihoods of all pairs; those that the file has are not computed again.
 * @param fingerprint of all that decides them
 * @param count pairs
 * @param compute the likelihoods of one pair
 * @throws Memory3Error "mismatch" if the file was made with something else that is not replaced; "locked"; "diverged" if a number is not finite; "disk".
 *   The signal's reason when it is aborted.
 */
export async function frozenLikelihoods(
  path: string,
  fingerprint: string,
  count: number,
  compute: (index: number) => Promise<PairLikelihoods>,
  { replace = false, signal, onProgress }: FrozenOptions = {},
): Promise<PairLikelihoods[]> {
  onDisk(path, () => mkdirSync(dirname(path), { recursive: true }));
  using _lock = onDisk(path, () => takeLock(`${path}.lock`, path));
  const { likelihoods, bytes } = readKept(path, fingerprint, count, replace);
  if (likelihoods.length === count) return likelihoods;
  const file = onDisk(path, () => openSync(path, 'a'));
  try {
    const append = (value: object) => onDisk(path, () => writeSync(file, `${JSON.stringify(value)}\n`));
    onDisk(path, () => ftruncateSync(file, bytes));
    if (bytes === 0) append({ format, fingerprint });
    while (likelihoods.length < count) {
      signal?.throwIfAborted();
      const index = likelihoods.length;
      const pair = await compute(index);
      if (!Number.isFinite(pair.chosen) || !Number.isFinite(pair.rejected)) {
        throw new Memory3Error('diverged', `The frozen model gives preference ${index + 1} no finite likelihood.`);
      }
      append(pair);
      likelihoods.push(pair);
      onProgress?.(likelihoods.length, count);
    }
    onDisk(path, () => fsyncSync(file));
  } finally {
    closeSync(file);
  }
  return likelihoods;
}

/** The whole lines of the file, and how many bytes they take. */
function readKept(
  path: string,
  fingerprint: string,
  count: number,
  replace: boolean,
): { likelihoods: PairLikelihoods[]; bytes: number } {
  const text = onDisk(path, () => readIfThere(path));
  // Behind the last newline is nothing or half a line.
  const lines = text.split('\n').slice(0, -1);
  const head = lines[0] === undefined ? null : parsed(headerSchema, lines[0]);
  if (head === null) {
    if (lines.length === 0) return { likelihoods: [], bytes: 0 };
    throw new Memory3Error('damaged', `${path} does not begin as likelihoods of a frozen model.`, {
      remedy: 'Delete it: it is computed again.',
    });
  }
  if (head.fingerprint !== fingerprint) {
    if (replace) return { likelihoods: [], bytes: 0 };
    throw new Memory3Error('mismatch', `${path} was computed with another model, other data or other references.`, {
      remedy: 'Begin a run in another folder, or go on with what this one was begun with.',
    });
  }
  const likelihoods: PairLikelihoods[] = [];
  let bytes = Buffer.byteLength(`${lines[0]}\n`);
  for (const line of lines.slice(1, count + 1)) {
    const pair = parsed(lineSchema, line);
    if (pair === null) break;
    likelihoods.push(pair);
    bytes += Buffer.byteLength(`${line}\n`);
  }
  return { likelihoods, bytes };
}

/** Null for what is not JSON of the schema. */
function parsed<T>(schema: z.ZodType<T>, line: string): T | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  return schema.safeParse(value).data ?? null;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
