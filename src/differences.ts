/** Two JSON values side by side: which fields differ, as data and in words for a message. */
import { isDeepStrictEqual } from 'node:util';

export interface Change {
  /** Dots between the names on its way. */
  readonly field: string;
  readonly from: unknown;
  readonly to: unknown;
}

/** The fields in which two JSON values differ; null stands for what is not there. */
export function differences(from: unknown, to: unknown, field = ''): Change[] {
  if (isDeepStrictEqual(from, to)) return [];
  if (!isRecord(from) || !isRecord(to)) return [{ field, from: from ?? null, to: to ?? null }];
  const keys = new Set([...Object.keys(from), ...Object.keys(to)]);
  return [...keys].flatMap((key) => differences(from[key], to[key], field === '' ? key : `${field}.${key}`));
}

/** For a sentence: "steps was 10, is 20; seed was null, is 1". */
export function inWords(changes: readonly Change[]): string {
  return changes
    .map(({ field, from, to }) => `${field} was ${JSON.stringify(from)}, is ${JSON.stringify(to)}`)
    .join('; ');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
