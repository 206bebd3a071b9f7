/**
 * A bank as one portable file: JSON Lines, compressed with gzip. docs/memory-format.md describes it for other programs.
 *
 *   {"kind":"memory3-bank","version":1,"identity":{…}}
 *   {"kind":"document","names":[…],"title":…,"mediaType":…,"text":…}    for each document, followed by its
 *   {"kind":"reference","start":…,"end":…,"tokens":[…],"vector":base64} in order, and its
 *   {"kind":"memory","ordinal":…,"bytes":base64}                        for those that are not cold
 *   {"kind":"end","documents":…,"references":…,"memories":…,"sha256":…} sha256 of all bytes before this line
 *
 * Every line is streamed: neither side holds more than one document with its vectors, or one memory, at a time.
 */
import { createHash } from 'node:crypto';
import { createWriteStream, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { z } from 'zod';
import { syncFolder } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import { isHeld } from '../held-files.ts';
import { longestLine, type Line as NumberedLine, readLines } from '../json-lines.ts';
import { realPath } from '../real-path.ts';
import type { MemoryBank, NewDocument, NewReference, PutOutcome, StoredReference } from './bank.ts';
import { vectorFault } from './documents.ts';
import { bankError, named } from './failure.ts';
import { identitySchema } from './identity.ts';
import { lockForWriting } from './lock.ts';
import { checkNonePending } from './rewrite.ts';
import { openBank } from './sqlite.ts';
import { toBytes, toFloats } from './tables.ts';

const naturalNumber = z.int().nonnegative();
const lineSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('memory3-bank'), version: z.literal(1), identity: identitySchema }),
  z.strictObject({
    kind: z.literal('document'),
    names: z.tuple([z.string()], z.string()),
    title: z.string().nullable(),
    mediaType: z.string(),
    text: z.string(),
  }),
  z.strictObject({
    kind: z.literal('reference'),
    start: naturalNumber,
    end: naturalNumber,
    tokens: z.array(naturalNumber),
    vector: z.base64(),
  }),
  z.strictObject({ kind: z.literal('memory'), ordinal: naturalNumber, bytes: z.base64() }),
  z.strictObject({
    kind: z.literal('end'),
    documents: naturalNumber,
    references: naturalNumber,
    memories: naturalNumber,
    sha256: z.string(),
  }),
]);
const kindSchema = z.looseObject({ kind: z.enum(lineSchema.options.map(({ shape }) => shape.kind.value)) });
type Line = z.infer<typeof lineSchema>;
type LineOf<K extends Line['kind']> = Extract<Line, { kind: K }>;

export interface TransferCounts {
  readonly documents: number;
  readonly references: number;
  readonly memories: number;
}

/**
 * Writes the whole bank into the file `name`, in the place of an earlier export that lies there. Nobody can write the bank
 * meanwhile if this process may take its lock; a failure leaves no half file, and what was there.
 * @throws Memory3Error "usage" if the file is anything but an export; "not-found", "locked", "damaged", "disk"; "mismatch"
 * if documents are pending after a rewrite
 */
export async function exportBank(bankPath: string, name: string): Promise<TransferCounts> {
  // Where a link leads, so that an earlier export there is replaced, not the link.
  const file = named(name, () => realPath(name));
  await checkTarget(file);
  using cleanUp = new DisposableStack();
  const bank = cleanUp.use(openBank(bankPath, { mode: 'read' }));
  try {
    cleanUp.use(lockForWriting(bankPath));
  } catch (error) {
    // Who may only read the bank may export it.
    if (!(error instanceof Memory3Error && error.code === 'disk')) throw error;
  }
  const { pending, documents, references, memories } = bank.stats();
  checkNonePending(bankPath, pending);
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await pipeline(
      Readable.from(exportedLines(bank)),
      createGzip({ level: 1 }),
      createWriteStream(temporary, { flush: true }),
    );
    renameSync(temporary, file);
    // Whoever has a backup may delete the bank.
    syncFolder(path.dirname(file));
  } catch (error) {
    throw bankError(file, error);
  } finally {
    rmSync(temporary, { force: true });
  }
  return { documents, references, memories };
}

/** What lies at the target of an export is replaced, so it may be nothing but an export: not a bank, not a document. */
async function checkTarget(file: string): Promise<void> {
  const there = statSync(file, { throwIfNoEntry: false });
  if (there === undefined || (there.isFile() && !isHeld(file) && (await isExport(file)))) return;
  throw new Memory3Error('usage', `${file} exists and is not an exported bank: it would be overwritten.`, {
    remedy: 'Name another file, or remove this one first.',
  });
}

async function isExport(file: string): Promise<boolean> {
  try {
    for await (const { kind } of checkedLines(file)) return kind === 'memory3-bank';
  } catch (error) {
    if (!(error instanceof Memory3Error && error.code === 'damaged')) throw error;
  }
  return false;
}

export interface ImportResult extends TransferCounts {
  /** Memories that were left out, since the bank holds the document cut into other tokens. */
  readonly otherwiseCut: number;
  readonly outcomes: Readonly<Record<PutOutcome, number>>;
}

/**
 * Puts an exported file's documents into the bank at `bankPath`, which is created if there is none. The whole file is
 * tested before the first one is stored. Each document is one transaction: interrupted and started again, the import
 * passes over what is there.
 * @throws Memory3Error "damaged" if the file is not as it was written, "mismatch" if the bank is of another model
 */
export async function importBank(file: string, bankPath: string): Promise<ImportResult> {
  let header: LineOf<'memory3-bank'> | undefined;
  for await (const line of checkedLines(file)) if (line.kind === 'memory3-bank') header ??= line;
  if (header === undefined) throw fault(file, 'its first line is missing');
  using bank = openBank(bankPath, { mode: 'write', identity: header.identity });
  const outcomes = { added: 0, unchanged: 0, replaced: 0, alias: 0 };
  const counts = { documents: 0, references: 0, memories: 0 };
  let otherwiseCut = 0;
  let document: LineOf<'document'> | undefined;
  let references: NewReference[] = [];
  let stored: readonly StoredReference[] | undefined;
  const store = (): readonly StoredReference[] => {
    if (document === undefined) return [];
    const { names, title, mediaType, text } = document;
    const put = (name: string, with_: NewDocument['references']) =>
      bank.putDocument({ name, title, mediaType, text, references: with_ });
    const [first, ...aliases] = names;
    const { outcome, documentId } = put(first, references);
    outcomes[outcome]++;
    for (const alias of aliases) put(alias, []);
    return bank.references(documentId);
  };
  for await (const line of checkedLines(file)) {
    if (line.kind === 'document' || line.kind === 'end') {
      stored ??= store();
      stored = undefined;
      document = line.kind === 'document' ? line : undefined;
      references = [];
      counts.documents += line.kind === 'document' ? 1 : 0;
    } else if (line.kind === 'reference' && document !== undefined) {
      const { start, end, tokens } = line;
      references.push({ start, end, tokens, text: document.text.slice(start, end), vector: vectorOf(line) });
      counts.references++;
    } else if (line.kind === 'memory') {
      stored ??= store();
      const reference = stored[line.ordinal];
      // A document that was known keeps its references: another version of the program may have cut them otherwise.
      if (reference === undefined || !isSame(reference.tokens, references[line.ordinal]?.tokens)) {
        otherwiseCut++;
        continue;
      }
      if (bank.memory(reference.id) === undefined) {
        bank.putMemories([{ referenceId: reference.id, bytes: fromBase64(line.bytes) }]);
      }
      counts.memories++;
    }
  }
  return { ...counts, outcomes, otherwiseCut };
}

function* exportedLines(bank: MemoryBank): Generator<string> {
  const hash = createHash('sha256');
  const counts = { documents: 0, references: 0, memories: 0 };
  const written = (line: Line): string => {
    const text = `${JSON.stringify(line)}\n`;
    // What could not be imported is no backup.
    if (Buffer.byteLength(text) > longestLine) {
      const what = line.kind === 'document' ? `the document ${line.names[0]}` : `a ${line.kind}`;
      throw new Memory3Error(
        'unsupported',
        `${bank.path} cannot be exported: ${what} makes a line of too many bytes.`,
        {
          remedy: `A line may have ${longestLine} bytes. Cut the document into several ones, or copy the bank's file and its -wal.`,
        },
      );
    }
    hash.update(text);
    return text;
  };
  yield written({ kind: 'memory3-bank', version: 1, identity: bank.identity });
  for (const { id, name, aliases, title, mediaType } of bank.documents()) {
    yield written({ kind: 'document', names: [name, ...aliases], title, mediaType, text: bank.documentText(id) });
    counts.documents++;
    const references = bank.references(id);
    for (const { id: referenceId, start, end, tokens } of references) {
      const vector = toBase64(toBytes(bank.vector(referenceId)));
      yield written({ kind: 'reference', start, end, tokens: [...tokens], vector });
      counts.references++;
    }
    for (const { id: referenceId, ordinal } of references) {
      const bytes = bank.memory(referenceId);
      if (bytes === undefined) continue;
      yield written({ kind: 'memory', ordinal, bytes: toBase64(bytes) });
      counts.memories++;
    }
  }
  yield `${JSON.stringify({ kind: 'end', ...counts, sha256: hash.digest('hex') })}\n`;
}

/** The file's lines, each tested, the sum at the end. @throws Memory3Error "damaged" that names the line. */
async function* checkedLines(file: string): AsyncGenerator<Line> {
  const hash = createHash('sha256');
  const counts = { documents: 0, references: 0, memories: 0 };
  let previous: Line['kind'] | undefined;
  /** References of the document so far. */
  let ordinals = 0;
  /** UTF-16 code units of its text. */
  let characters = 0;
  let dimensions = 0;
  for await (const { value: text, number } of linesOf(file)) {
    // As behind the last newline.
    if (text === '') continue;
    if (previous === 'end') throw fault(file, `line ${number} follows the end`);
    const line = previous === undefined ? firstLine(file, number, text) : parsed(file, number, text);
    const { kind } = line;
    const inPlace =
      (previous === undefined) === (kind === 'memory3-bank') &&
      (kind !== 'reference' || previous === 'document' || previous === 'reference');
    if (!inPlace) throw fault(file, `line ${number} is out of place`);
    if (kind === 'memory' && line.ordinal >= ordinals) {
      throw fault(file, `line ${number}: its document has no reference ${line.ordinal}`);
    }
    if (kind === 'memory3-bank') dimensions = line.identity.embedder.dimensions;
    if (kind === 'document') characters = line.text.length;
    if (kind === 'reference') {
      const what = placeFault(line, characters) ?? vectorFault(vectorOf(line), dimensions);
      if (what !== undefined) throw fault(file, `line ${number}: ${what}`);
    }
    if (kind === 'end') {
      const { sha256, documents, references, memories } = line;
      const counted = [counts.documents, counts.references, counts.memories];
      if (sha256 !== hash.digest('hex') || !isSame([documents, references, memories], counted)) {
        throw fault(file, 'its sum is wrong');
      }
    } else {
      hash.update(text).update('\n');
      if (kind === 'document') counts.documents++;
      if (kind === 'reference') counts.references++;
      if (kind === 'memory') counts.memories++;
      ordinals = kind === 'document' ? 0 : ordinals + (kind === 'reference' ? 1 : 0);
    }
    previous = kind;
    yield line;
  }
  if (previous === undefined) throw noExport(file, 'it is empty');
  if (previous !== 'end') throw fault(file, 'its end is missing');
}

/** What begins as no line of an export begins is another file rather than a damaged one. */
function firstLine(file: string, number: number, text: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw noExport(file, `its line ${number} is not JSON`, error);
  }
  if (!kindSchema.safeParse(value).success) {
    throw noExport(file, `its line ${number} is JSON, but not of the kind "memory3-bank"`);
  }
  return parsed(file, number, text);
}

function placeFault({ start, end }: LineOf<'reference'>, characters: number): string | undefined {
  return start < end && end <= characters ? undefined : `its document has no characters [${start}, ${end})`;
}

function vectorOf({ vector }: LineOf<'reference'>): Float32Array {
  const bytes = fromBase64(vector);
  // Of other bytes the vector is too short, which is said of it.
  return toFloats(bytes.subarray(0, bytes.length - (bytes.length % Float32Array.BYTES_PER_ELEMENT)));
}

function parsed(file: string, number: number, text: string): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw fault(file, `line ${number} is not JSON`, error);
  }
  const line = lineSchema.safeParse(value);
  if (!line.success) throw fault(file, `line ${number}: ${z.prettifyError(line.error)}`);
  return line.data;
}

/** The file's text line by line; of what is wrong with it says that it is an export that is damaged. */
async function* linesOf(file: string): AsyncGenerator<NumberedLine<string>> {
  try {
    yield* readLines(file);
  } catch (error) {
    if (!(error instanceof Memory3Error && error.code === 'damaged')) throw error;
    throw fault(file, error.message, error);
  }
}

function isSame(a: readonly number[], b: readonly number[] | undefined): boolean {
  return a.length === b?.length && a.every((value, index) => value === b[index]);
}

function fault(file: string, what: string, cause?: unknown): Memory3Error {
  return new Memory3Error('damaged', `The exported bank ${file} is damaged: ${what}.`, {
    cause,
    remedy: 'Export the bank again.',
  });
}

function noExport(file: string, what: string, cause?: unknown): Memory3Error {
  return new Memory3Error('damaged', `${file} is not an exported bank: ${what}.`, {
    cause,
    remedy: 'Name a file that `memory3 export` wrote. Documents are put into a bank with `memory3 add`.',
  });
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}
