/**
 * The files that paths, folders and globs name. Folders are read with their subfolders, without hidden entries (".git"),
 * as globs do; a folder that cannot be read and a link that leads nowhere are told, where the input would take them.
 */
import { type Dirent, lstat, type PathLike, readdir, realpath, type Stats, stat } from 'node:fs';
import * as promises from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { type GlobOptions, glob, isDynamicPattern } from 'tinyglobby';
import { Memory3Error } from '../errors.ts';
import type { SkippedSource } from './documents.ts';

export interface ListedInputs {
  /** Absolute paths without symbolic links, each once, in a fixed order; "-" is standard input. */
  readonly files: readonly string[];
  /** What lies in a folder or fits a glob, but cannot be read. */
  readonly skipped: readonly SkippedSource[];
}

/** Of what a folder was said to hold. */
const notFound = 'it is not there any more, or its name is not valid UTF-8';

/**
 * @param folder where relative paths and globs start
 * @throws Memory3Error "not-found" for an input that does not exist or a glob without any file, "usage", "disk".
 */
export async function listInputs(inputs: readonly string[], folder: string): Promise<ListedInputs> {
  const files = new Set<string>();
  const skipped = new Map<string, string>();
  for (const input of inputs) {
    for (const path of await expandInput(input, folder, skipped)) {
      if (path === '-') files.add(path);
      else {
        const found = await realFile(path);
        if ('real' in found) files.add(found.real);
        else skipped.set(path, found.reason);
      }
    }
  }
  return { files: [...files], skipped: [...skipped].map(([path, reason]) => ({ skipped: path, reason })) };
}

/** A file's path without symbolic links, or why there is nothing to read. */
async function realFile(path: string): Promise<{ readonly real: string } | { readonly reason: string }> {
  try {
    const real = await promises.realpath(path);
    const found = await promises.stat(real);
    // Reading a pipe would wait for whoever writes to it.
    return found.isFile() ? { real } : { reason: `it is ${kindOf(found)}, not a file` };
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!isMissing) return { reason: unreadable(error) };
    const isLink = await promises.lstat(path).then(
      () => true,
      () => false,
    );
    return { reason: isLink ? 'it is a link that leads nowhere' : notFound };
  }
}

function kindOf(found: Stats): string {
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a named pipe';
  return found.isSocket() ? 'a socket' : 'a device';
}

async function expandInput(input: string, folder: string, skipped: Map<string, string>): Promise<readonly string[]> {
  if (input === '-') return ['-'];
  const path = resolve(folder, input);
  // Nothing, as of a variable that is not set, is not the working folder.
  const whole = input === '' ? Promise.resolve(null) : promises.stat(path);
  const found = await whole.catch((error: NodeJS.ErrnoException) => {
    if (isMissing(error)) return null;
    throw new Memory3Error('disk', `${path} cannot be read: ${error.message}`, { cause: error });
  });
  let refused = false;
  const refuse = (unread: string, reason: string): void => {
    refused = true;
    skipped.set(unread, reason);
  };
  const search = async (pattern: string, cwd: string) =>
    (await glob(pattern, { cwd, absolute: true, fs: tellingFileSystem(refuse) })).sort();
  if (found?.isFile() === true) return [path];
  if (found?.isDirectory() === true) return search('**', path);
  if (found !== null) throw new Memory3Error('usage', `${path} is neither a file nor a folder.`);
  // Patterns know only one separator.
  const pattern = sep === '/' ? input : input.replaceAll(sep, '/');
  const files = isDynamicPattern(pattern) ? await search(pattern, folder) : [];
  if (files.length > 0 || refused) return files;
  throw new Memory3Error('not-found', `There is no file, folder or glob with files called ${JSON.stringify(input)}.`, {
    remedy: `Relative paths start at ${folder}.`,
  });
}

/** What the search reads folders with: the search itself passes over every error in silence. */
function tellingFileSystem(refuse: (path: string, reason: string) => void): NonNullable<GlobOptions['fs']> {
  type Done<Value> = (error: NodeJS.ErrnoException | null, value?: Value) => void;
  let isFirst = true;
  const telling = {
    readdir(path: string, options: { readonly withFileTypes: true }, done: Done<readonly Dirent[]>): void {
      // A pattern may begin with a folder that is not there; then nothing fits it. Others were seen in theirs.
      const mayBeMissing = isFirst;
      isFirst = false;
      readdir(path, options, (error, entries) => {
        if (error !== null && !isMissing(error)) refuse(resolve(path), unreadable(error));
        else if (error !== null && !mayBeMissing) refuse(resolve(path), notFound);
        done(error, entries?.map(countedAsFile));
      });
    },
    // A link that leads nowhere counts as a file: whether it is one of those that are asked for is the pattern's to say.
    realpath(path: string, done: Done<string>): void {
      realpath(path, (error, real) => done(null, error === null ? real : path));
    },
    stat(path: PathLike, done: Done<Stats>): void {
      stat(path, (error, found) => (error === null ? done(null, found) : lstat(path, done)));
    },
  };
  // These are the calls that are made; those of Node.js can be made in more ways.
  return telling as unknown as NonNullable<GlobOptions['fs']>;
}

/**
 * Pipes, sockets and devices count as files, as links that lead nowhere do: the search would pass over them in silence,
 * and whether they are asked for is the pattern's to say.
 */
function countedAsFile(entry: Dirent): Dirent {
  if (entry.isFile() || entry.isDirectory() || entry.isSymbolicLink()) return entry;
  return Object.assign(Object.create(entry), { isFile: () => true });
}

function isMissing({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Why something could not be read, for errors of the file system only. */
export function unreadable(error: unknown): string {
  if (error instanceof Error && 'syscall' in error) return `it cannot be read: ${error.message}`;
  throw error;
}
