/** Files that are whole or what they were before, whatever happens, and are on the disk when that is said. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Memory3Error } from './errors.ts';

/** Makes the name of a new or renamed file durable, as its bytes are. */
export function syncFolder(path: string): void {
  if (process.platform === 'win32') return; // A folder cannot be opened there; NTFS keeps names in its own log.
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Writes a file beside its place, then renames it: it is whole, or what it was and nothing lies beside it. */
export function replaceFile(folder: string, name: string, content: string | Uint8Array): void {
  const unfinished = join(folder, `${name}.unfinished`);
  const file = openSync(unfinished, 'w');
  try {
    try {
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, join(folder, name));
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
  syncFolder(folder);
}

/** Runs `work` on a folder or file; a failure of the file system becomes a Memory3Error "disk" that says why. */
export function onDisk<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof Memory3Error || !(cause instanceof Error)) throw cause;
    throw new Memory3Error('disk', `${path} cannot be used: ${cause.message}.`, {
      remedy: 'Check that it may be written to and has space left.',
      cause,
    });
  }
}
