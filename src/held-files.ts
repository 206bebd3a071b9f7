/**
 * Files that this process has open in SQLite, which nothing else in it may open.
 *
 * On POSIX systems a file's locks belong to the process, not to who took them: whoever opens such a file and closes it again,
 * if only to read a byte, drops all of them (fcntl(2)). Another process could then write beside a writer that believes to be
 * alone. So code that reads files which a user names asks here first. The list is the process's, as the locks are.
 */
import { type BigIntStats, statSync } from 'node:fs';

/** Paths of databases, and how often each is open. */
const databases = new Map<string, number>();

/** What SQLite has open: the file itself, and what it makes beside it. */
const endings = ['', '-wal', '-shm', '-journal'] as const;

/** Remembers a database's files until disposed of. @param path without symbolic links, since SQLite's files lie beside the real one */
export function holdDatabase(path: string): Disposable {
  databases.set(path, (databases.get(path) ?? 0) + 1);
  return {
    [Symbol.dispose]() {
      const left = (databases.get(path) ?? 0) - 1;
      if (left > 0) databases.set(path, left);
      else databases.delete(path);
    },
  };
}

/** Whether a file is one of a database that is open here, by whatever name. */
export function isHeld(file: string): boolean {
  if (databases.size === 0) return false;
  const asked = identityOf(file);
  if (asked === undefined) return false;
  return [...databases.keys()].some((path) => endings.some((ending) => isSame(identityOf(path + ending), asked)));
}

function identityOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined; // What cannot even be looked at cannot be opened: whoever tries is told why.
  }
}

function isSame(one: BigIntStats | undefined, other: BigIntStats): boolean {
  return one !== undefined && one.dev === other.dev && one.ino === other.ino;
}
