/**
 * The writer's lock: one writing process a bank. The bank's own SQLite locks last for one transaction; a writer lasts for
 * many.
 */
import { takeLock } from '../lock.ts';
import { named } from './failure.ts';
import { realBankPath } from './open.ts';

/** Takes the lock of the bank at `bankPath` or throws. @throws Memory3Error "locked" that names the holder's process. */
export function lockForWriting(bankPath: string): Disposable {
  return named(bankPath, () => takeLock(`${realBankPath(bankPath)}.lock`, bankPath));
}
