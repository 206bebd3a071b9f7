/**
 * Writing a download so that its final name only ever holds the whole, checked file.
 *
 * The bytes go to a partial file of this process's own beside the target; when they are complete and their sha256 is
 * the expected one, the partial file is synced and renamed over the target. Two processes that fetch the same file
 * therefore never write into each other's, and the slower one replaces equal bytes by equal bytes.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncFolder } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';

export interface PlaceOptions {
  /** What the file is called in messages. */
  readonly name: string;
  /** Hex sha256 that the bytes must have. */
  readonly sha256?: string | undefined;
  /** Size that the file must have. */
  readonly bytes?: number | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** Marks what belongs to a fetch under way, or to one that was killed. */
export const partialMark = '.partial';
/** A fetch under way writes all the time; what nobody touched for this long belonged to a process that was killed. */
const abandonedAfterMs = 60 * 60 * 1000;

/**
 * Streams `chunks` into `target`.
 *
 * @returns the file's sha256 and size.
 * @throws Memory3Error "damaged" if size or checksum are not the expected ones, "disk" if it cannot be written. An error
 * of `chunks` itself is passed on. In every case the target is what it was before.
 */
export async function placeFile(
  target: string,
  chunks: AsyncIterable<Uint8Array>,
  options: PlaceOptions,
): Promise<{ readonly sha256: string; readonly bytes: number }> {
  const partial = `${target}.${randomUUID().slice(0, 8)}${partialMark}`;
  const onDisk = <T>(action: () => Promise<T>): Promise<T> => diskErrors(options.name, target, action);
  const handle = await onDisk(async () => {
    await mkdir(dirname(target), { recursive: true });
    await removeAbandoned(dirname(target));
    return open(partial, 'wx');
  });
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      for await (const chunk of chunks) {
        await onDisk(() => writeAll(handle, chunk));
        hash.update(chunk);
        bytes += chunk.byteLength;
        options.onProgress?.(bytes);
      }
      await onDisk(() => handle.sync());
    } finally {
      await handle.close();
    }
    if (options.bytes !== undefined && bytes !== options.bytes) {
      throw new Memory3Error('damaged', `${options.name} ended after ${bytes} of ${options.bytes} bytes.`);
    }
    const sha256 = hash.digest('hex');
    if (options.sha256 !== undefined && sha256 !== options.sha256) {
      throw new Memory3Error('damaged', `${options.name} has sha256 ${sha256}, expected ${options.sha256}.`);
    }
    await onDisk(async () => {
      await rename(partial, target);
      syncFolder(dirname(target));
    });
    return { sha256, bytes };
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** Makes an empty folder beside the models for a download that consists of more than one file. */
export async function makePartialFolder(parent: string, name: string): Promise<string> {
  const path = join(parent, `${name}.${randomUUID().slice(0, 8)}${partialMark}`);
  await diskErrors(name, path, async () => {
    await mkdir(parent, { recursive: true });
    await removeAbandoned(parent);
    await mkdir(path);
  });
  return path;
}

/** Runs an action on the file system; its failure becomes a Memory3Error "disk" that names the file. */
export async function diskErrors<T>(name: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (typeof code !== 'string') throw error;
    const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG';
    throw new Memory3Error('disk', `${name} cannot be written to ${path}: ${full ? 'no space left' : code}.`, {
      remedy: full
        ? 'Free some space, or set MEMORY3_HOME to a folder on another disk.'
        : 'Check the permissions of the folder, or set MEMORY3_HOME to another one.',
      cause: error,
    });
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let written = 0;
  while (written < chunk.byteLength) {
    written += (await handle.write(chunk, written, chunk.byteLength - written)).bytesWritten;
  }
}

async function removeAbandoned(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    if (!entry.endsWith(partialMark)) continue;
    const path = join(folder, entry);
    const touched = await stat(path).catch(ignoreMissing);
    if (touched && Date.now() - touched.mtimeMs > abandonedAfterMs) await rm(path, { recursive: true, force: true });
  }
}

/** For a file that another process may have removed in between. */
export function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

/** For a path that a user named: below a file there is nothing either. */
export function ignoreNowhere(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOTDIR') return undefined;
  return ignoreMissing(error);
}
