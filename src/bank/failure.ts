/** SQLite's errors as the project's: what happened to which bank, and what to do. */
import { Memory3Error } from '../errors.ts';

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const sqlite = {
  perm: 3,
  busy: 5,
  locked: 6,
  noMemory: 7,
  readOnly: 8,
  ioError: 10,
  full: 13,
  cannotOpen: 14,
  protocol: 15,
  tooBig: 18,
  notADatabase: 26,
} as const;

/** Runs `work` on the bank at `path`; whatever SQLite or the file system throws becomes a Memory3Error. */
export function named<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw bankError(path, error);
  }
}

/** The Memory3Error for anything thrown while a bank was used; other programming errors pass unchanged. */
export function bankError(path: string, error: unknown): unknown {
  if (error instanceof Memory3Error || !(error instanceof Error)) return error;
  const code = 'code' in error ? error.code : undefined;
  const options = { cause: error };
  if (code === 'ERR_OUT_OF_RANGE') return damaged(path, `a number is out of range (${error.message})`, error);
  if (code === 'ERR_SQLITE_ERROR') {
    const result = 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
    const text = `${path}: ${error.message}`;
    // protocol: others were faster too often while the log was opened.
    if (result === sqlite.busy || result === sqlite.locked || result === sqlite.protocol) {
      return new Memory3Error('locked', text, { ...options, remedy: 'Another process is using the bank; try again.' });
    }
    if (result === sqlite.full) return new Memory3Error('disk', text, { ...options, remedy: 'Free some disk space.' });
    if (
      result === sqlite.perm ||
      result === sqlite.readOnly ||
      result === sqlite.ioError ||
      result === sqlite.cannotOpen
    ) {
      return new Memory3Error('disk', text, {
        ...options,
        remedy: 'Check the permissions of the bank and its folder.',
      });
    }
    if (result === sqlite.noMemory) {
      return new Memory3Error('unsupported', text, { ...options, remedy: 'Free some memory.' });
    }
    if (result === sqlite.tooBig) {
      const remedy = 'A text may have 1 000 000 000 bytes: cut the document into several ones.';
      return new Memory3Error('unsupported', text, { ...options, remedy });
    }
    if (result === sqlite.notADatabase) return notABank(path, error);
    // Everything else means that SQLite did not find what this code wrote: a malformed page, a missing table.
    return damaged(path, error.message, error);
  }
  if (typeof code === 'string' && 'syscall' in error)
    return new Memory3Error('disk', `${path}: ${error.message}`, {
      ...options,
      remedy: 'Check that the folder is there, may be written to and has space left.',
    });
  return error;
}

/** @returns the error for a file that is something else, or whose first page is no longer what it was. */
export function notABank(path: string, cause?: Error): Memory3Error {
  const why = cause === undefined ? '' : `: ${cause.message}`;
  return new Memory3Error('damaged', `${path} is not a memory bank, or its header is damaged${why}.`, {
    cause,
    remedy: 'Check the path; a damaged bank is restored from a copy or an export.',
  });
}

/** Whether an error says that this process cannot write the bank now: somebody else does, or no permission, no space. */
export function isUnwritable(error: unknown): boolean {
  return error instanceof Memory3Error && (error.code === 'locked' || error.code === 'disk');
}

/** @returns the error for bytes of the bank that are not what was written. */
export function damaged(path: string, what: string, cause?: unknown): Memory3Error {
  return new Memory3Error('damaged', `The bank ${path} is damaged: ${what}.`, {
    cause,
    remedy: `\`memory3 verify ${path}\` lists the damage. ${repair}`,
  });
}

const repair = 'Restore the bank from a copy or an export, or add its documents to a new one.';

/** The error as `verify` says it, which need not be told of itself. */
export function withinVerify(error: unknown): unknown {
  if (!(error instanceof Memory3Error && error.remedy?.endsWith(repair))) return error;
  return new Memory3Error(error.code, withoutRemedy(error), { cause: error, remedy: repair });
}

/** What an error says, without what to do. */
export function withoutRemedy({ message, remedy }: Memory3Error): string {
  return remedy === undefined ? message : message.slice(0, -`\n${remedy}`.length);
}
