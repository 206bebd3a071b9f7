/** Paths without symbolic links, of files that are there and of those that are not. */
import { lstatSync, readlinkSync, realpathSync } from 'node:fs';
import path from 'node:path';

/**
 * The one path behind all names of a file, absolute, symbolic links followed. Of one that is not there: where it would be.
 * @throws the file system's error if a folder on the way cannot be read, or links lead in a circle
 */
export function realPath(name: string): string {
  const whole = path.resolve(name);
  try {
    return realpathSync.native(whole);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // Below a file there is nothing, nor can there be.
    if (code === 'ENOTDIR') return whole;
    if (code !== 'ENOENT') throw error;
  }
  // The name may still be a link to where the file will be, its folder may be one.
  const folder = path.dirname(whole);
  if (folder === whole) return whole;
  const realFolder = realPath(folder);
  const there = path.join(realFolder, path.basename(whole));
  const isLink = lstatSync(there, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  return isLink ? realPath(path.resolve(realFolder, readlinkSync(there))) : there;
}
