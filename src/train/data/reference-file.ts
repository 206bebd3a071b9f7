/**
 * The references of all chunks of a corpus, found once and kept, so that training embeds and searches nothing.
 *
 *   byte 0    a header of 1024 bytes: JSON, padded with spaces
 *        1024 a record for each sequence:
 *               for each of its chunks   reference id uint32, refused uint16, length uint16, `maxTokens` tokens
 *               CRC-32 of all that       uint32
 *
 * Tokens are uint16 if the vocabulary allows, else uint32; a length of 0 is no reference. Records have one size, so any
 * sequence is read at once. While it is being made the file is called "....unfinished"; interrupted, it keeps every
 * whole record with the right checksum, and the search goes on behind the last. It is renamed when it is complete.
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, renameSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { onDisk } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import { takeLock } from '../../lock.ts';
import { chunkTokens } from '../../memory/profile.ts';
import { BinaryFile } from '../../model/binary-file.ts';
import { contentFingerprint } from './knowledge.ts';
import {
  addCounts,
  type ChunkChoice,
  countChoices,
  defaultReferenceOptions,
  findReferences,
  type ReferenceCounts,
  type ReferenceOptions,
  type ReferenceParts,
} from './references.ts';
import type { TokenFile } from './token-file.ts';

const headerBytes = 1024;
const chunkHeadBytes = 8;
const checksumBytes = 4;
/** Of a damaged file. */
const remedy = 'Delete it and find the references again.';
const noCounts: ReferenceCounts = { found: 0, none: 0, refused: 0 };

const headerSchema = z.strictObject({
  format: z.literal('memory3-references'),
  version: z.literal(1),
  /** Sequences of the corpus, and chunks of each. */
  sequences: z.int().nonnegative(),
  chunks: z.int().positive(),
  /** Longest body. */
  maxTokens: z.int().min(1).max(0xffff),
  tokenBytes: z.union([z.literal(2), z.literal(4)]),
  /** Hex sha256 of all that decides what is found. */
  fingerprint: z.string(),
});
type Header = z.infer<typeof headerSchema>;

/** The references of a corpus. Closed by `using`. */
export class ReferenceFile implements Disposable {
  readonly path: string;
  /** Sequences that the file has records of. */
  readonly count: number;
  /** What it was made from (`referenceFingerprint`). */
  readonly fingerprint: string;
  readonly #file: BinaryFile;
  readonly #header: Header;

  /** @throws Memory3Error "not-found"; "damaged" if it is no whole file of references. */
  constructor(path: string, options: { readonly unfinished?: boolean } = {}) {
    this.path = path;
    this.#file = new BinaryFile(path, remedy);
    try {
      this.#header = this.#readHeader();
      this.fingerprint = this.#header.fingerprint;
      const records = (this.#file.size - headerBytes) / recordBytes(this.#header);
      if (options.unfinished !== true && records !== this.#header.sequences) {
        throw this.#damaged(`it has records of ${records} sequences, its header promises ${this.#header.sequences}`);
      }
      this.count = Math.min(Math.floor(records), this.#header.sequences);
    } catch (error) {
      this.#file[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * What the chunks of a sequence got, in order.
   * @throws Memory3Error "usage" for an index outside, "damaged" if the record's checksum is wrong.
   */
  choices(index: number): ChunkChoice[] {
    const choices = this.#read(index);
    if (choices === null) throw this.#damaged(`the record of sequence ${index} has the wrong checksum`);
    return choices;
  }

  /** Sequences from the first on whose records are sound, and what they got: reads the whole file. */
  soundRecords(): { readonly sequences: number; readonly counts: ReferenceCounts } {
    let counts = noCounts;
    for (let index = 0; index < this.count; index++) {
      const choices = this.#read(index);
      if (choices === null) return { sequences: index, counts };
      counts = addCounts(counts, countChoices(choices));
    }
    return { sequences: this.count, counts };
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  #read(index: number): ChunkChoice[] | null {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw new Memory3Error('usage', `${this.path} has the references of ${this.count} sequences, none of ${index}.`);
    }
    const record = Buffer.alloc(recordBytes(this.#header));
    this.#file.readInto(record, headerBytes + index * record.length, `the references of sequence ${index}`);
    return parseRecord(this.#header, record);
  }

  #readHeader(): Header {
    if (this.#file.size < headerBytes) throw this.#damaged('it is too short for a header');
    const bytes = Buffer.alloc(headerBytes);
    this.#file.readInto(bytes, 0, 'the header');
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString('utf8'));
    } catch {
      throw this.#damaged('its header is not JSON');
    }
    const parsed = headerSchema.safeParse(value);
    if (!parsed.success) throw this.#damaged(z.prettifyError(parsed.error));
    return parsed.data;
  }

  #damaged(what: string): Memory3Error {
    return new Memory3Error('damaged', `${this.path}: ${what}.`, { remedy });
  }
}

export interface FindProgress {
  /** Sequences done, those of an interrupted search included. */
  readonly done: number;
  readonly total: number;
  readonly counts: ReferenceCounts;
}

/** What decides which references are found: the corpus, the bank with its texts, and the options. */
function referenceFingerprint(
  corpus: Pick<TokenFile, 'checksum' | 'count' | 'sequenceLength'>,
  { bank }: Pick<ReferenceParts, 'bank'>,
  options: ReferenceOptions = {},
): string {
  const { checksum, count, sequenceLength } = corpus;
  const filled = { ...defaultReferenceOptions, ...options };
  const all = [checksum, count, sequenceLength, bank.identity, contentFingerprint(bank), filled];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}

/**
 * Finds the references of every sequence of a corpus and writes them to `path`; yields after each sequence. A complete
 * file of the same corpus, bank and options is left as it is; an interrupted one is continued.
 *
 * @param maxTokens longest body in the bank, `longestBody(parts)`
 * @throws Memory3Error "locked" if another process does the same, "mismatch" for a longer body, "disk".
 * @example for await (const { done, total, counts } of writeReferences(file, parts, 'train.references', 125)) ...
 */
export async function* writeReferences(
  corpus: TokenFile,
  parts: ReferenceParts,
  path: string,
  maxTokens: number,
  options: ReferenceOptions = {},
): AsyncGenerator<FindProgress, void> {
  using _lock = onDisk(path, () => takeLock(`${path}.lock`, path));
  const header: Header = {
    format: 'memory3-references',
    version: 1,
    sequences: corpus.count,
    chunks: corpus.sequenceLength / chunkTokens,
    maxTokens,
    tokenBytes: corpus.vocabularySize <= 2 ** 16 ? 2 : 4,
    fingerprint: referenceFingerprint(corpus, parts, options),
  };
  const total = corpus.count;
  const complete = soundPart(path, header, false);
  if (complete?.sequences === total) {
    yield { done: total, total, counts: complete.counts };
    return;
  }
  const unfinished = `${path}.unfinished`;
  const earlier = soundPart(unfinished, header, true);
  let { sequences: done, counts } = earlier ?? { sequences: 0, counts: noCounts };
  const file = onDisk(path, () => openSync(unfinished, earlier === null ? 'w' : 'r+'));
  try {
    let position = headerBytes + done * recordBytes(header);
    onDisk(path, () => {
      if (earlier === null) writeAll(file, paddedHeader(header), 0);
      else ftruncateSync(file, position);
    });
    while (done < total) {
      const choices = await findReferences(parts, corpus.sequence(done), options);
      const record = formatRecord(header, choices, path);
      onDisk(path, () => writeAll(file, record, position));
      position += record.length;
      done++;
      counts = addCounts(counts, countChoices(choices));
      if (done < total) yield { done, total, counts };
    }
    onDisk(path, () => fsyncSync(file));
  } finally {
    closeSync(file);
  }
  onDisk(path, () => renameSync(unfinished, path));
  yield { done, total, counts };
}

/** What a file has that was made with exactly this header; null if there is no such file. */
function soundPart(
  path: string,
  header: Header,
  unfinished: boolean,
): ReturnType<ReferenceFile['soundRecords']> | null {
  if (!existsSync(path)) return null;
  try {
    using file = new ReferenceFile(path, { unfinished });
    return file.fingerprint === header.fingerprint ? file.soundRecords() : null;
  } catch (error) {
    // What cannot be used is made again.
    if (error instanceof Memory3Error && error.code === 'damaged') return null;
    throw error;
  }
}

function recordBytes({ chunks, maxTokens, tokenBytes }: Header): number {
  return chunks * (chunkHeadBytes + maxTokens * tokenBytes) + checksumBytes;
}

function formatRecord(header: Header, choices: readonly ChunkChoice[], path: string): Buffer {
  const { maxTokens, tokenBytes } = header;
  const record = Buffer.alloc(recordBytes(header));
  for (const [chunk, { reference, refused }] of choices.entries()) {
    const start = chunk * (chunkHeadBytes + maxTokens * tokenBytes);
    const tokens = reference?.tokens ?? [];
    if (tokens.length > maxTokens) {
      throw new Memory3Error(
        'mismatch',
        `Reference ${reference?.id} has ${tokens.length} tokens, ${path} holds ${maxTokens}.`,
      );
    }
    record.writeUInt32LE(reference?.id ?? 0, start);
    record.writeUInt16LE(refused, start + 4);
    record.writeUInt16LE(tokens.length, start + 6);
    for (let n = 0; n < tokens.length; n++) {
      record.writeUIntLE(tokens[n] as number, start + chunkHeadBytes + n * tokenBytes, tokenBytes);
    }
  }
  const content = record.subarray(0, -checksumBytes);
  record.writeUInt32LE(crc32(content), content.length);
  return record;
}

/** @returns null if the checksum is wrong */
function parseRecord({ chunks, maxTokens, tokenBytes }: Header, record: Buffer): ChunkChoice[] | null {
  const content = record.subarray(0, -checksumBytes);
  if (record.readUInt32LE(content.length) !== crc32(content)) return null;
  return Array.from({ length: chunks }, (_, chunk) => {
    const start = chunk * (chunkHeadBytes + maxTokens * tokenBytes);
    const length = record.readUInt16LE(start + 6);
    const tokens = Uint32Array.from({ length }, (_, n) =>
      record.readUIntLE(start + chunkHeadBytes + n * tokenBytes, tokenBytes),
    );
    const reference = length === 0 ? null : { id: record.readUInt32LE(start), tokens };
    return { reference, refused: record.readUInt16LE(start + 4) };
  });
}

function paddedHeader(header: Header): Buffer {
  const bytes = Buffer.alloc(headerBytes, ' ');
  bytes.write(JSON.stringify(header));
  return bytes;
}

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, bytes.length - done, position + done);
  }
}
