/**
 * A lock that ends with its process however that ends.
 *
 * It is an open transaction in a tiny SQLite file: the operating system drops the file lock behind it when the process
 * dies. SQLite's RESERVED lock lets others read, so that they can see the holder's process id (kept as `user_version`)
 * and say who it is.
 */
import { DatabaseSync } from 'node:sqlite';
import { Memory3Error } from './errors.ts';
import { holdDatabase } from './held-files.ts';
import { realPath } from './real-path.ts';

/** Primary result codes of SQLite (sqlite.org/rescode.html) that mean: somebody else has it. */
const busyCodes: readonly number[] = [5, 6];
/** And those that mean: these bytes are no database. The lock's are never synchronised, so a power failure can leave such. */
const damagedCodes: readonly number[] = [11, 26];

/**
 * Takes the lock at `path` or throws. The file is created and stays there.
 * @param what is locked, as the message names it
 * @throws Memory3Error "locked" that names the holder's process, "disk" for a damaged file, which cannot be locked; SQLite's
 * own error for every other failure.
 */
export function takeLock(path: string, what: string): Disposable {
  using opening = new DisposableStack();
  opening.use(holdDatabase(realPath(path)));
  const database = opening.adopt(new DatabaseSync(path, { timeout: 200 }), (open) => open.close());
  try {
    // Two steps, as an open transaction's process id could not be read: the lock that counts is the second one.
    database.exec(`PRAGMA synchronous = OFF; BEGIN IMMEDIATE; PRAGMA user_version = ${process.pid}; COMMIT`);
    database.exec('BEGIN IMMEDIATE');
  } catch (error) {
    const isBusy = hasCode(error, busyCodes);
    const holder = isBusy ? holderOf(database) : '';
    if (hasCode(error, damagedCodes)) {
      // Not removed here: of two processes that did so, each could hold a file of its own.
      throw new Memory3Error('disk', `${what} cannot be locked: its lock file ${path} is damaged.`, {
        cause: error,
        remedy: 'Remove the lock file while nobody writes; it holds nothing.',
      });
    }
    if (!isBusy) throw error;
    throw new Memory3Error('locked', `${what} is being written by another process${holder}.`, {
      cause: error,
      remedy: 'Wait until it has ended; reading is possible meanwhile.',
    });
  }
  return opening.move();
}

function hasCode(error: unknown, codes: readonly number[]): boolean {
  return (
    error instanceof Error &&
    'errcode' in error &&
    typeof error.errcode === 'number' &&
    codes.includes(error.errcode & 0xff)
  );
}

function holderOf(database: DatabaseSync): string {
  try {
    const id = database.prepare('PRAGMA user_version').get()?.user_version;
    return typeof id === 'number' && id > 0 ? ` (process ${id})` : '';
  } catch {
    return ''; // Without a name the message is still right.
  }
}
