/**
 * Lines of files, and JSON Lines checked against a schema, read as a stream: a file may be larger than memory. Gzip is
 * recognised by its first two bytes, whatever the file is called.
 */
import { createReadStream, readFileSync } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip, gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { Memory3Error } from './errors.ts';

/** Bytes. A longer line is refused: it would have to be held as one string. */
export const longestLine = 256 * 2 ** 20;
const newline = 10;

/** A line and its number, from 1. */
export interface Line<T> {
  readonly value: T;
  readonly number: number;
}

/**
 * Reads a file of JSON values, one a line, as a stream; empty lines are passed over.
 * @param remedy what to do about a line that the schema refuses
 * @throws Memory3Error "not-found", "disk" or "damaged", naming file and line.
 * @example for await (const { value } of streamJsonLines('facts.jsonl.gz', z.object({ text: z.string() }))) ...
 */
export async function* streamJsonLines<T>(
  file: string,
  schema: z.ZodType<T>,
  remedy?: string,
): AsyncGenerator<Line<T>, void> {
  for await (const { value: text, number } of readLines(file)) {
    if (text.trim() !== '') yield { value: parseLine(text, schema, file, number, remedy), number };
  }
}

/**
 * The same at once, for a file that fits into memory.
 * @param options.growing whether somebody may be writing the file: a last line without its end is left out then
 * @throws Memory3Error as `streamJsonLines`.
 */
export function readJsonLines<T>(
  file: string,
  schema: z.ZodType<T>,
  { growing = false }: { readonly growing?: boolean } = {},
): T[] {
  return readText(file, growing)
    .split('\n')
    .flatMap((line, index) => (line.trim() === '' ? [] : [parseLine(line, schema, file, index + 1)]));
}

/**
 * Reads a file of UTF-8 text line by line; lines end at "\n", which is not part of them.
 * @throws Memory3Error "not-found", "disk" or "damaged", naming file and line.
 */
export async function* readLines(file: string): AsyncGenerator<Line<string>, void> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const byteOrderMark = '\ufeff';
  let number = 0;
  try {
    for await (const bytes of linesOf(unzipped(createReadStream(file, { highWaterMark: 1 << 18 })))) {
      if (bytes instanceof LongLine) throw bytes;
      number++;
      const text = decoder.decode(bytes);
      yield { value: number === 1 && text.startsWith(byteOrderMark) ? text.slice(1) : text, number };
    }
  } catch (cause) {
    throw readingError(file, number, cause);
  }
}

/**
 * What a stream holds between newlines, as bytes, so that a fault in one line is that line's alone. In the place of a
 * line that is longer than `longest` bytes comes the error that says so, as soon as that is known.
 */
export async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  longest = longestLine,
): AsyncGenerator<Uint8Array | LongLine, void> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  /** @returns false if this piece makes the line too long */
  const hold = (piece: Uint8Array): boolean => {
    if (length > longest) return true;
    length += piece.length;
    if (length <= longest) pieces.push(piece);
    else pieces = [];
    return length <= longest;
  };
  /** @returns the line that ends here, none if it was too long */
  const end = (): Uint8Array[] => {
    const line = length <= longest ? [Buffer.concat(pieces)] : [];
    pieces = [];
    length = 0;
    return line;
  };
  for await (const bytes of stream) {
    let start = 0;
    for (let found = bytes.indexOf(newline); found !== -1; found = bytes.indexOf(newline, start)) {
      if (!hold(bytes.subarray(start, found))) yield new LongLine(longest);
      yield* end();
      start = found + 1;
    }
    if (!hold(bytes.subarray(start))) yield new LongLine(longest);
  }
  yield* end();
}

export class LongLine extends Error {
  override readonly name = 'LongLine';
  constructor(longest: number) {
    super(`it is longer than ${longest} bytes`);
  }
}

/**
 * The bytes of a stream, unpacked where they are gzip. A failure of the stream or of its gzip data (`gzipFault`) is thrown
 * where they are read.
 */
export async function* unzipped(stream: AsyncIterable<string | Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const pieces = bytesOf(stream);
  try {
    let head: Uint8Array = new Uint8Array();
    while (head.length < 2) {
      const { done, value } = await pieces.next();
      if (done === true) break;
      head = Buffer.concat([head, value]);
    }
    const whole = precededBy(head, pieces);
    if (isGzip(head)) yield* pipeline(Readable.from(whole), createGunzip(), () => {});
    else yield* whole;
  } finally {
    await pieces.return();
  }
}

async function* bytesOf(stream: AsyncIterable<string | Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of stream) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

async function* precededBy(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  yield head;
  yield* rest;
}

/** What is wrong with gzip data that could not be unpacked; null for other errors. */
export function gzipFault(error: unknown): string | null {
  if (!(error instanceof Error && 'code' in error && String(error.code).startsWith('Z_'))) return null;
  return `its gzip data ends here: ${error.message}`;
}

/** @param number lines that were read before */
function readingError(file: string, number: number, cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof Memory3Error) return cause;
  const code = 'code' in cause ? String(cause.code) : '';
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new Memory3Error('not-found', `${file} cannot be read: there is no such file.`, { cause });
  }
  if (code === 'EISDIR') {
    return new Memory3Error('disk', `${file} is a folder, where a file is expected.`, {
      cause,
      remedy: 'Name a file in it.',
    });
  }
  if ('syscall' in cause) return new Memory3Error('disk', `${file} cannot be read: ${cause.message}`, { cause });
  if (cause instanceof LongLine) return damagedLine(file, number + 1, cause.message, cause);
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return damagedLine(file, number, 'it is not valid UTF-8', cause);
  const fault = gzipFault(cause);
  return fault === null ? cause : damagedLine(file, number + 1, fault, cause);
}

function readText(file: string, growing: boolean): string {
  let read = false;
  try {
    const all = readFileSync(file);
    read = true;
    // By bytes: what is cut off may end within a character.
    const bytes = growing ? all.subarray(0, all.lastIndexOf(newline) + 1) : all;
    return new TextDecoder('utf-8', { fatal: true }).decode(isGzip(bytes) ? gunzipSync(bytes) : bytes);
  } catch (cause) {
    if (!read) throw readingError(file, 0, cause);
    throw new Memory3Error('damaged', `${file} is not UTF-8 text, plain or gzip.`, { cause });
  }
}

function parseLine<T>(text: string, schema: z.ZodType<T>, file: string, number: number, remedy?: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damagedLine(file, number, 'it is not JSON', cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw damagedLine(file, number, faultsOf(parsed.error), undefined, remedy);
}

/** What a schema says of a value, on one line. */
function faultsOf({ issues }: z.ZodError): string {
  return issues
    .map(({ message, path }) => (path.length === 0 ? message : `${message} at "${z.core.toDotPath(path)}"`))
    .join('; ');
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function damagedLine(file: string, number: number, what: string, cause?: unknown, remedy?: string): Memory3Error {
  const message = `${file}, line ${number}: ${what}`;
  return new Memory3Error('damaged', message, { cause, ...(remedy === undefined ? {} : { remedy }) });
}
