/**
 * Where training texts come from: JSON Lines and plain text files, folders and globs of them, read as a stream. Nothing
 * holds a whole file, so a corpus may be larger than memory; what is held is one document.
 *
 * Unlike a bank's sources (`retrieval/documents.ts`), which skip what they cannot read and go on, a corpus with a fault
 * is refused at the faulty line: a run must not train on less than it was given without anybody noticing.
 */
import { extname, resolve, sep } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { isHeld } from '../../held-files.ts';
import { readLines, streamJsonLines } from '../../json-lines.ts';
import { realPath } from '../../real-path.ts';
import { listInputs } from '../../retrieval/inputs.ts';

export interface TextDocument {
  /** The file's path; of a line of JSON Lines path, "#" and the line's id or number; of a part of a text file path, "#" and its number. */
  readonly id: string;
  readonly title?: string;
  readonly text: string;
}

export interface ReaderOptions {
  /** Where relative paths and globs start; the process's working folder unless given. */
  readonly folder?: string;
  /** A folder that is written meanwhile: what lies in it is left out, unless an input begins in it. */
  readonly without?: string;
  /** Fields of a JSON Lines object: "text", "title" and "id" unless given. Title and id may be missing. */
  readonly textField?: string;
  readonly titleField?: string;
  readonly idField?: string;
  /** A text file longer than this many characters comes in parts; default 500 000. */
  readonly partCharacters?: number;
}

const extensions: ReadonlyMap<string, 'json-lines' | 'text'> = new Map([
  ['.jsonl', 'json-lines'],
  ['.ndjson', 'json-lines'],
  ['.txt', 'text'],
  ['.text', 'text'],
  ['.md', 'text'],
  ['.markdown', 'text'],
]);

/**
 * Reads the documents of files, folders (with their subfolders) and globs in a fixed order, each file once. Files end in
 * .jsonl, .ndjson, .txt, .text, .md or .markdown, with or without .gz.
 *
 * @throws Memory3Error before anything is read: "not-found" for an input that does not exist, "unsupported" for a file of
 * another kind, "disk" for what cannot be read in a folder, "usage" for a file that this process has open as a database. While reading: "damaged", naming file and line.
 * @example for await (const { id, text } of readDocuments(['corpus/', 'extra/*.jsonl.gz'])) console.log(id, text.length);
 */
export async function* readDocuments(
  inputs: readonly string[],
  options: ReaderOptions = {},
): AsyncGenerator<TextDocument, void> {
  const listed = await listInputs(inputs, options.folder ?? process.cwd());
  const isWritten = writtenTest(inputs, options);
  for (const { skipped, reason } of listed.skipped) {
    throw new Memory3Error('disk', `${skipped}: ${reason}.`, { remedy: 'Remove it, or name the files with a glob.' });
  }
  const files = listed.files.filter((path) => !isWritten(path)).map((path) => ({ path, kind: kindOf(path) }));
  for (const { path, kind } of files) {
    yield* kind === 'text' ? readTextFile(path, options) : readJsonLinesFile(path, options);
  }
}

/** Tells the files of the folder that is written; none where an input begins in it, as that asks for them. */
function writtenTest(
  inputs: readonly string[],
  { folder = process.cwd(), without }: ReaderOptions,
): (path: string) => boolean {
  if (without === undefined) return () => false;
  const written = realPath(resolve(folder, without));
  const isWritten = (path: string) => path === written || path.startsWith(`${written}${sep}`);
  return inputs.some((input) => isWritten(realPath(resolve(folder, input)))) ? () => false : isWritten;
}

function kindOf(path: string): 'json-lines' | 'text' {
  // Opened and closed it would lose its locks.
  if (isHeld(path)) {
    throw new Memory3Error('usage', `${path} is being written by this process.`, {
      remedy: 'Write to a folder beside the texts, or name the texts with a glob.',
    });
  }
  const kind = extensions.get(extname(path.replace(/\.gz$/i, '')).toLowerCase());
  if (kind !== undefined) return kind;
  throw new Memory3Error('unsupported', `${path} is neither JSON Lines nor plain text.`, {
    remedy: `Every file in a folder that is named must be one of them; else choose with a glob, such as "texts/*.txt" or "corpus/**/*.jsonl.gz". Known are ${[...extensions.keys()].join(', ')}, each with .gz too.`,
  });
}

async function* readJsonLinesFile(path: string, options: ReaderOptions): AsyncGenerator<TextDocument, void> {
  const { textField = 'text', titleField = 'title', idField = 'id' } = options;
  const schema = z.looseObject({
    [titleField]: z.string().nullish(),
    [idField]: z.union([z.string(), z.number()]).nullish(),
    [textField]: z.string().refine((text) => text.isWellFormed(), 'it has half a surrogate pair'),
  });
  for await (const { value, number } of streamJsonLines(path, schema)) {
    const title = value[titleField] as string | null | undefined;
    const text = value[textField] as string;
    yield { id: `${path}#${value[idField] ?? number}`, ...(title ? { title } : {}), text };
  }
}

/** The parts' texts, one after another, are the file's text. */
async function* readTextFile(path: string, options: ReaderOptions): AsyncGenerator<TextDocument, void> {
  const { partCharacters = 500_000 } = options;
  if (!Number.isInteger(partCharacters) || partCharacters < 1) {
    throw new Memory3Error('usage', `A part needs at least one character, not ${partCharacters}.`);
  }
  let part = 0;
  const document = (text: string): TextDocument => ({ id: part++ === 0 ? path : `${path}#${part}`, text });
  let held = '';
  for await (const { value, number } of readLines(path)) {
    held += number === 1 ? value : `\n${value}`;
    while (held.length > partCharacters) {
      const end = partEnd(held, partCharacters);
      yield document(held.slice(0, end));
      held = held.slice(end);
    }
  }
  if (held !== '' || part === 0) yield document(held);
}

/** Behind the last blank line, else the last line, else the last space that leaves a part at least half full. */
function partEnd(text: string, limit: number): number {
  for (const border of ['\n\n', '\n', ' ']) {
    const end = text.lastIndexOf(border, limit - border.length) + border.length;
    if (end > limit / 2) return end;
  }
  const splitsPair = limit > 1 && /^[\udc00-\udfff]/.test(text.slice(limit, limit + 1));
  return splitsPair ? limit - 1 : limit;
}
