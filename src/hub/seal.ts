/**
 * Remembering that a file was verified. Beside each model lies a small seal with the sha256 that was computed, and the
 * size and modification time that the file had then. While those two are unchanged the file need not be hashed again;
 * when they differ, it is.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { diskErrors, partialMark } from './place.ts';

const sealSchema = z.object({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().nonnegative(),
  /** Nanoseconds since 1970; a string because JSON has no integers of that size. */
  modified: z.string(),
  /** The name it was fetched under. */
  origin: z.string(),
});
export type Seal = z.infer<typeof sealSchema>;

/** Ending of a seal's file name. */
export const sealExtension = '.seal.json';

/** The seal of a file, or undefined if there is none that can be read. */
export async function readSeal(path: string): Promise<Seal | undefined> {
  try {
    return sealSchema.parse(JSON.parse(await readFile(path + sealExtension, 'utf8')));
  } catch {
    // A seal only saves time: one that is missing or cannot be read counts as none, and the file is hashed.
    return undefined;
  }
}

/** Whether the seal still describes the file, judged by size and modification time alone. */
export async function sealHolds(path: string, seal: Seal): Promise<boolean> {
  const now = await stat(path, { bigint: true });
  return seal.bytes === Number(now.size) && seal.modified === now.mtimeNs.toString();
}

/**
 * Writes a file's seal. In a folder that cannot be written it stays away: the file is then hashed at each use.
 * @throws Memory3Error "disk" if there is no space
 */
export async function writeSeal(path: string, sha256: string, origin: string): Promise<void> {
  const now = await stat(path, { bigint: true });
  const seal: Seal = { sha256, bytes: Number(now.size), modified: now.mtimeNs.toString(), origin };
  const partial = `${path}.${randomUUID().slice(0, 8)}${partialMark}`;
  await diskErrors(origin, path + sealExtension, async () => {
    try {
      await writeFile(partial, `${JSON.stringify(seal)}\n`);
      await rename(partial, path + sealExtension);
    } catch (error) {
      await rm(partial, { force: true });
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code !== 'EROFS' && code !== 'EACCES' && code !== 'EPERM') throw error;
    }
  });
}

/** Hex sha256 of a file's bytes. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}
