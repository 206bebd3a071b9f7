/** The one error that the project throws on purpose: what was wrong, where, and what to do about it. */

import type { z } from 'zod';

/** What kind of fault it is; commands turn it into their exit code. */
export type ErrorCode =
  /** A flag, an option or a request is wrong. */
  | 'usage'
  /** A file, document, model or reference does not exist. */
  | 'not-found'
  /** A file's bytes are not what they must be. */
  | 'damaged'
  /** Two things do not belong together: a bank and another model's profile. */
  | 'mismatch'
  /** Somebody else is writing. */
  | 'locked'
  /** A source could not be reached. */
  | 'network'
  /** The file is sound but the project cannot run it. */
  | 'unsupported'
  /** A prompt does not fit the context. */
  | 'too-long'
  /** Training went wrong again and again: its loss is not a number, or explodes. */
  | 'diverged'
  /** Reading or writing failed: no space, no permission. */
  | 'disk';

export class Memory3Error extends Error {
  override readonly name = 'Memory3Error';
  readonly code: ErrorCode;
  /** What the reader of the message can do, if anything: a sentence, or a command to run. */
  readonly remedy: string | undefined;

  constructor(code: ErrorCode, message: string, options: { readonly remedy?: string; readonly cause?: unknown } = {}) {
    super(options.remedy === undefined ? message : `${message}\n${options.remedy}`, { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
  }
}

/**
 * Checks a caller's options against their schema and fills in the defaults.
 * @throws Memory3Error "usage" that names the option and what it may be.
 */
export function checkOptions<Schema extends z.ZodType>(schema: Schema, options: unknown): z.output<Schema> {
  const result = schema.safeParse(options);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'options'}: ${message}`);
  throw new Memory3Error('usage', problems.join('; '));
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What went wrong at the root: fetch says "fetch failed" or "terminated", and what happened stands in the innermost cause. */
export function rootMessage(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  if (!(inner instanceof Error)) return String(inner);
  return inner.message || ('code' in inner ? String(inner.code) : inner.name);
}
