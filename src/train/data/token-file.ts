/**
 * Token sequences of one length in a file, read at random positions, so that a corpus may be larger than memory.
 *
 *   byte 0   "M3TOKENS"                      24   vocabulary size          uint32
 *        8   format version, 1   uint32      28   CRC-32 of the tokens     uint32
 *       12   bytes in a token    uint32      32   number of sequences      float64, exact below 2^53
 *       16   document-start id   uint32      40   the sequences' tokens, uint16 if the vocabulary allows, else uint32
 *       20   sequence length     uint32
 *
 * Little-endian, as every processor is that the project runs on. The checksum and the count are a corpus' identity:
 * what was computed from it (`reference-file.ts`) names them.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { Memory3Error } from '../../errors.ts';
import { BinaryFile } from '../../model/binary-file.ts';

const magic = 'M3TOKENS';
const version = 1;
const headerBytes = 40;
/** Written at once. */
const bufferedBytes = 1 << 20;
/** Of a damaged file. */
const remedy = 'Prepare the corpus again.';

export interface TokenFileShape {
  /** Tokens in a sequence. */
  readonly sequenceLength: number;
  readonly vocabularySize: number;
  /** The token that stands in front of every document. */
  readonly documentStart: number;
}

/** Sequences on disk. Closed by `using`. */
export class TokenFile implements Disposable, TokenFileShape {
  readonly path: string;
  readonly sequenceLength: number;
  readonly vocabularySize: number;
  readonly documentStart: number;
  /** Number of sequences. */
  readonly count: number;
  /** CRC-32 of all tokens. */
  readonly checksum: number;
  readonly #file: BinaryFile;
  readonly #tokenBytes: number;

  /** @throws Memory3Error "not-found", "damaged" if it is no whole token file. */
  constructor(path: string) {
    this.path = path;
    this.#file = new BinaryFile(path, remedy);
    try {
      const header = Buffer.alloc(headerBytes);
      if (this.#file.size < headerBytes) throw this.#damaged('it is too short for a header');
      this.#file.readInto(header, 0, 'the header');
      if (header.toString('latin1', 0, 8) !== magic) throw this.#damaged('it is no token file');
      const found = header.readUInt32LE(8);
      if (found !== version) {
        throw new Memory3Error(
          'unsupported',
          `${path} has version ${found} of the token file's format, not ${version}.`,
        );
      }
      this.#tokenBytes = header.readUInt32LE(12);
      this.documentStart = header.readUInt32LE(16);
      this.sequenceLength = header.readUInt32LE(20);
      this.vocabularySize = header.readUInt32LE(24);
      this.checksum = header.readUInt32LE(28);
      this.count = header.readDoubleLE(32);
      const expected = headerBytes + this.count * this.sequenceLength * this.#tokenBytes;
      if (this.#tokenBytes !== tokenBytesOf(this.vocabularySize) || this.#file.size !== expected) {
        throw this.#damaged(`its header promises ${expected} bytes, it has ${this.#file.size}`);
      }
    } catch (error) {
      this.#file[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * @param index from 0
   * @returns token ids `[sequenceLength]`
   * @throws Memory3Error "usage" for an index outside, "damaged" for a token outside of the vocabulary.
   */
  sequence(index: number): Uint32Array {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw new Memory3Error('usage', `${this.path} has ${this.count} sequences, none with the index ${index}.`);
    }
    const stored = newTokens(this.sequenceLength, this.#tokenBytes);
    const position = headerBytes + index * stored.byteLength;
    this.#file.readInto(bytesOf(stored), position, `sequence ${index}`);
    const tokens = Uint32Array.from(stored);
    const foreign = tokens.find((token) => token >= this.vocabularySize);
    if (foreign !== undefined)
      throw this.#damaged(`sequence ${index} has the token ${foreign}, outside of its vocabulary`);
    return tokens;
  }

  /** @throws Memory3Error "damaged" if the tokens are not those that were written. */
  verify(): void {
    let checksum = 0;
    const bytes = Buffer.alloc(bufferedBytes);
    for (let position = headerBytes; position < this.#file.size; position += bytes.length) {
      const part = bytes.subarray(0, Math.min(bytes.length, this.#file.size - position));
      this.#file.readInto(part, position, 'the tokens');
      checksum = crc32(part, checksum);
    }
    if (checksum !== this.checksum) throw this.#damaged('its tokens have another checksum than its header says');
  }

  #damaged(what: string): Memory3Error {
    return new Memory3Error('damaged', `${this.path}: ${what}.`, { remedy });
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/**
 * Packs documents into sequences and writes them to a token file, whole or not at all: the file appears under its name
 * when `finish` returns. Disposed before, it leaves what stood there.
 */
export class TokenFileWriter implements Disposable {
  readonly #path: string;
  readonly #unfinished: string;
  readonly #shape: TokenFileShape;
  readonly #buffer: Uint16Array | Uint32Array;
  #file: number | undefined;
  #filled = 0;
  #sequences = 0;
  #checksum = 0;

  /** @throws Memory3Error "disk" if it cannot be written, "usage" for an impossible shape. */
  constructor(path: string, shape: TokenFileShape) {
    const { sequenceLength, vocabularySize, documentStart } = shape;
    if (!Number.isInteger(sequenceLength) || sequenceLength < 1 || documentStart >= vocabularySize) {
      throw new Memory3Error(
        'usage',
        `There are no sequences of ${sequenceLength} tokens that start with ${documentStart}.`,
      );
    }
    this.#path = path;
    this.#unfinished = `${path}.${process.pid}.unfinished`;
    this.#shape = shape;
    const tokenBytes = tokenBytesOf(vocabularySize);
    const sequences = Math.max(1, Math.floor(bufferedBytes / (sequenceLength * tokenBytes)));
    this.#buffer = newTokens(sequences * sequenceLength, tokenBytes);
    this.#onDisk(() => {
      this.#file = openSync(this.#unfinished, 'w');
      this.#write(Buffer.alloc(headerBytes));
    });
  }

  /**
   * Adds a document: the document-start token, then its own.
   * @throws Memory3Error "usage" for a token outside of the vocabulary; "disk".
   */
  add(tokens: readonly number[]): void {
    const foreign = tokens.find((token) => !(token >= 0 && token < this.#shape.vocabularySize));
    if (foreign !== undefined) throw new Memory3Error('usage', `${foreign} is no token of the vocabulary.`);
    this.#put(this.#shape.documentStart);
    for (const token of tokens) this.#put(token);
  }

  /**
   * Completes the file.
   * @returns the sequences it has, and the last tokens that did not fill one and are not in it.
   */
  finish(): { readonly sequences: number; readonly tailTokens: number } {
    const tailTokens = this.#filled % this.#shape.sequenceLength;
    this.#flush(this.#filled - tailTokens);
    this.#onDisk(() => {
      const file = this.#file as number;
      const header = this.#header();
      writeSync(file, header, 0, header.length, 0);
      fsyncSync(file);
      closeSync(file);
      this.#file = undefined;
      renameSync(this.#unfinished, this.#path);
    });
    return { sequences: this.#sequences, tailTokens };
  }

  [Symbol.dispose](): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
    rmSync(this.#unfinished, { force: true });
  }

  #put(token: number): void {
    this.#buffer[this.#filled++] = token;
    if (this.#filled === this.#buffer.length) this.#flush(this.#filled);
  }

  #flush(tokens: number): void {
    const bytes = bytesOf(this.#buffer.subarray(0, tokens));
    this.#checksum = crc32(bytes, this.#checksum);
    this.#onDisk(() => this.#write(bytes));
    this.#sequences += tokens / this.#shape.sequenceLength;
    this.#filled = 0;
  }

  #write(bytes: Uint8Array): void {
    for (let written = 0; written < bytes.length; ) written += writeSync(this.#file as number, bytes, written);
  }

  #header(): Buffer {
    const { sequenceLength, vocabularySize, documentStart } = this.#shape;
    const header = Buffer.alloc(headerBytes);
    header.write(magic, 'latin1');
    const numbers = [
      version,
      tokenBytesOf(vocabularySize),
      documentStart,
      sequenceLength,
      vocabularySize,
      this.#checksum,
    ];
    for (const [index, number] of numbers.entries()) header.writeUInt32LE(number, 8 + 4 * index);
    header.writeDoubleLE(this.#sequences, 32);
    return header;
  }

  #onDisk(action: () => void): void {
    try {
      action();
    } catch (cause) {
      throw new Memory3Error('disk', `${this.#path} cannot be written.`, {
        remedy: 'Check that its folder exists, may be written to, and has space left.',
        cause,
      });
    }
  }
}

function tokenBytesOf(vocabularySize: number): 2 | 4 {
  return vocabularySize <= 2 ** 16 ? 2 : 4;
}

function newTokens(length: number, tokenBytes: number): Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  return tokenBytes === 2 ? new Uint16Array(length) : new Uint32Array(length);
}

function bytesOf(tokens: Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength);
}
