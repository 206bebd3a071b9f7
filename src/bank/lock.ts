/**
 * The writer's lock: one writing process a bank. The bank's own SQLite locks last for one transaction; a writer lasts for
 * many.
 */
import { takeLock } from '../lock.ts';
import { realPath } from '../real-path.ts';
import { named } from './failure.ts';

/**
 * Takes the lock of the bank at `bankPath` or throws. It lies beside the file itself, so that two names of one bank do not
 * have two locks.
 * @throws Memory3Error "locked" that names the holder's process.
 */
export function lockForWriting(bankPath: string): Disposable {
  return named(bankPath, () => takeLock(`${realPath(bankPath)}.lock`, bankPath));
}
