/**
 * The writer's lock: one writing process a bank, and a lock that ends with its process however that ends.
 *
 * The bank's own SQLite locks last for one transaction; a writer lasts for many. So it keeps a transaction open in a tiny
 * SQLite file beside the bank: the operating system drops the file lock behind it when the process dies. SQLite's
 * RESERVED lock lets others read, so that they can see the holder's process id (kept as `user_version`) and say who it is.
 */
import { DatabaseSync } from 'node:sqlite';
import { Memory3Error } from '../errors.ts';
import { bankError, named } from './failure.ts';

/** Takes the lock of the bank at `bankPath` or throws. @throws Memory3Error "locked" that names the holder's process. */
export function lockForWriting(bankPath: string): Disposable {
  const database = named(bankPath, () => new DatabaseSync(`${bankPath}.lock`, { timeout: 200 }));
  try {
    // Two steps, as an open transaction's process id could not be read: the lock that counts is the second one.
    database.exec(`PRAGMA synchronous = OFF; BEGIN IMMEDIATE; PRAGMA user_version = ${process.pid}; COMMIT`);
    database.exec('BEGIN IMMEDIATE');
  } catch (error) {
    const failure = bankError(bankPath, error);
    const locked = failure instanceof Memory3Error && failure.code === 'locked';
    const holder = locked ? holderOf(database) : '';
    database.close();
    if (!locked) throw failure;
    throw new Memory3Error('locked', `${bankPath} is being written by another process${holder}.`, {
      cause: error,
      remedy: 'Wait until it has ended; reading is possible meanwhile.',
    });
  }
  return { [Symbol.dispose]: () => database.close() };
}

function holderOf(database: DatabaseSync): string {
  try {
    const id = database.prepare('PRAGMA user_version').get()?.user_version;
    return typeof id === 'number' && id > 0 ? ` (process ${id})` : '';
  } catch {
    return ''; // Without a name the message is still right.
  }
}
