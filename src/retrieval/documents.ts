/**
 * Where documents come from: files, folders, globs, standard input and JSON Lines, read one at a time.
 *
 * Nothing is left out in silence: what cannot be read comes as `skipped` with its reason, and the others go on. A file
 * that is reached twice is read once.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { isHeld } from '../held-files.ts';
import { gzipFault, LongLine, linesOf, unzipped } from '../json-lines.ts';
import { extractText, type MediaType, mediaTypeOf, mediaTypes } from './document-formats.ts';
import { decodeText, Unreadable } from './formats/text.ts';
import { listInputs, unreadable } from './inputs.ts';

export interface SourceDocument {
  /** An absolute path without symbolic links; for a line of JSON Lines the path, "#" and the line's id, else its number; for input its name. */
  readonly name: string;
  readonly title: string | null;
  readonly mediaType: MediaType;
  readonly text: string;
}

export interface SkippedSource {
  /** Like a document's name; for a line of JSON Lines "path:line", for a part of a document "path, pages 2, 4-6". */
  readonly skipped: string;
  /** Completes the sentence "name was skipped: ...". */
  readonly reason: string;
}

export type Source = SourceDocument | SkippedSource;

export interface SourceOptions {
  /** Where relative paths and globs start; the process's working folder unless given. */
  readonly folder?: string;
  /** The stream that the input "-" reads; `process.stdin` unless given. */
  readonly stdin?: Readable;
  /** What "-" is called and holds: "stdin", plain text unless given. */
  readonly stdinName?: string;
  readonly stdinType?: MediaType;
  /** Fields of a JSON Lines object: "text", "title" and "id" unless given. */
  readonly textField?: string;
  readonly titleField?: string;
  readonly idField?: string;
}

/** Largest file, or input, that is read as a whole; JSON Lines are read line by line and may be larger. */
const largestFile = 256 * 1024 * 1024;

/**
 * Reads documents from `inputs`: paths of files and folders, globs, "-" for standard input.
 *
 * @throws Memory3Error "not-found" for an input that does not exist or a glob without any file, before anything is read.
 * @example
 * for await (const source of readSources(['notes/', 'papers/*.pdf'])) {
 *   if ('skipped' in source) console.error(`${source.skipped} was skipped: ${source.reason}`);
 *   else console.log(source.name, source.text.length);
 * }
 */
export async function* readSources(
  inputs: readonly string[],
  options: SourceOptions = {},
): AsyncGenerator<Source, void> {
  const { files, skipped } = await listInputs(inputs, options.folder ?? process.cwd());
  yield* skipped;
  for (const path of files) {
    if (path === '-') yield* readStandardInput(options);
    else if (isHeld(path)) yield { skipped: path, reason: 'it belongs to a memory bank or run that is open here' };
    else if (mediaTypeOf(path) === mediaTypes.jsonLines) yield* readJsonLines(path, createReadStream(path), options);
    else yield* await readWholeFile(path);
  }
}

async function readWholeFile(path: string): Promise<readonly Source[]> {
  try {
    const { size } = await stat(path);
    if (size > largestFile) {
      return [
        { skipped: path, reason: `it has ${size} bytes; the most is ${largestFile}, split it or use JSON Lines` },
      ];
    }
    return await toDocument(path, await readFile(path), mediaTypeOf(path));
  } catch (error) {
    return [{ skipped: path, reason: unreadable(error) }];
  }
}

async function* readStandardInput(options: SourceOptions): AsyncGenerator<Source, void> {
  const name = options.stdinName ?? 'stdin';
  const mediaType = options.stdinType ?? mediaTypes.text;
  const stream = options.stdin ?? process.stdin;
  if (mediaType === mediaTypes.jsonLines) yield* readJsonLines(name, stream, options);
  else yield* await readWholeStream(name, stream, mediaType);
}

async function readWholeStream(name: string, stream: Readable, mediaType: MediaType): Promise<readonly Source[]> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      const piece: Uint8Array = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      pieces.push(piece);
      size += piece.length;
      if (size > largestFile) {
        return [{ skipped: name, reason: `it has more than ${largestFile} bytes, which is the most; split it` }];
      }
    }
  } catch (error) {
    return [{ skipped: name, reason: unreadable(error) }];
  }
  return await toDocument(name, Buffer.concat(pieces), mediaType);
}

/** The document, and what of it could not be read. */
async function toDocument(name: string, bytes: Uint8Array, mediaType: MediaType): Promise<readonly Source[]> {
  try {
    const { title, text, unread = [] } = await extractText(bytes, mediaType);
    if (text.trim() === '') {
      const reasons = ['there is no text in it', ...unread.map(({ part, reason }) => `${part}: ${reason}`)];
      return [{ skipped: name, reason: reasons.join('; ') }];
    }
    const document = { name, title, mediaType, text };
    return [document, ...unread.map(({ part, reason }) => ({ skipped: `${name}, ${part}`, reason }))];
  } catch (error) {
    if (error instanceof Unreadable) return [{ skipped: name, reason: error.message }];
    throw error;
  }
}

async function* readJsonLines(name: string, stream: Readable, options: SourceOptions): AsyncGenerator<Source, void> {
  let number = 0;
  /** The line of each id: two documents of one name would replace each other in the bank. */
  const lines = new Map<string, number>();
  try {
    for await (const bytes of linesOf(unzipped(stream))) {
      number++;
      if (bytes instanceof LongLine) {
        yield { skipped: `${name}:${number}`, reason: bytes.message };
        continue;
      }
      const line = lineToSource(name, number, bytes, options);
      if (line === null) continue;
      if ('skipped' in line) {
        yield line;
        continue;
      }
      const earlier = lines.get(line.id);
      if (earlier === undefined) {
        lines.set(line.id, number);
        yield line.document;
      } else {
        const { idField = 'id' } = options;
        const named = line.hasId ? `its "${idField}" is` : `without "${idField}" its name is its line's number,`;
        const taken = `${JSON.stringify(line.id)}, which already names line ${earlier} of ${name}`;
        yield { skipped: `${name}:${number}`, reason: `${named} ${taken}; give each line an "${idField}" of its own` };
      }
    }
  } catch (error) {
    const fault = gzipFault(error);
    if (fault === null) yield { skipped: name, reason: unreadable(error) };
    else yield { skipped: `${name}:${number + 1}`, reason: fault };
  }
}

interface NamedLine {
  readonly document: SourceDocument;
  readonly id: string;
  /** Whether the line says its id; its number stands for it else. */
  readonly hasId: boolean;
}

/** A line's document, or null for an empty line. */
function lineToSource(
  name: string,
  number: number,
  bytes: Uint8Array,
  options: SourceOptions,
): NamedLine | SkippedSource | null {
  const skip = (reason: string): SkippedSource => ({ skipped: `${name}:${number}`, reason });
  let line: string;
  let value: unknown;
  try {
    line = decodeText(bytes);
    if (line.trim() === '') return null;
    value = JSON.parse(line);
  } catch (error) {
    if (error instanceof Unreadable) return skip(error.message);
    if (error instanceof SyntaxError) return skip(`it is not JSON: ${error.message}`);
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return skip('it is not a JSON object');
  const fields = new Map<string, unknown>(Object.entries(value));
  const { textField = 'text', titleField = 'title', idField = 'id' } = options;
  const text = fields.get(textField);
  const title = fields.get(titleField) ?? null;
  const ownId = fields.get(idField) ?? null;
  // Numbers that have no exact one here would be names of each other.
  const id = typeof ownId === 'number' && !Number.isSafeInteger(ownId) ? asWritten(line, idField) : (ownId ?? number);
  if (typeof text !== 'string') {
    return skip(`its field "${textField}" is not a text; it has the fields ${[...fields.keys()].join(', ')}`);
  }
  if (typeof title !== 'string' && title !== null) return skip(`its field "${titleField}" is not a text`);
  if (typeof id !== 'string' && typeof id !== 'number')
    return skip(`its field "${idField}" is neither text nor number`);
  if (!String(id).isWellFormed()) return skip(`its field "${idField}" has half a surrogate pair`);
  if (text.trim() === '') return skip(`there is no text in its field "${textField}"`);
  // JSON can name half a character by itself ("\ud83d"); UTF-8, in which everything is stored, cannot.
  if (!text.isWellFormed()) return skip(`its field "${textField}" has half a surrogate pair`);
  const document = { name: `${name}#${id}`, title, mediaType: mediaTypes.text, text };
  return { document, id: String(id), hasId: ownId !== null };
}

/** The number in an object's field as the JSON has it, digit for digit. */
function asWritten(json: string, field: string): unknown {
  const keepDigits = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === 'number' ? context?.source : value;
  const object: Readonly<Record<string, unknown>> = JSON.parse(json, keepDigits);
  return object[field];
}
