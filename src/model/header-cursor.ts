import type { Memory3Error } from '../errors.ts';
import type { BinaryFile } from './binary-file.ts';

/** Bytes that are read at once; a longer value gets a window of its own. */
const windowBytes = 1 << 20;

/** Reads the header from front to back through a window, checking each size before it is used. */
export class HeaderCursor {
  readonly file: BinaryFile;
  /** Next byte to be read. */
  position = 0;
  /** The part of the file that is in memory; `take` says where in it the next value lies. */
  view = new DataView(new ArrayBuffer(0));
  #buffer = new ArrayBuffer(0);
  #window = new Uint8Array(this.#buffer);
  #windowStart = 0;
  #memory = 0;
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  readonly #longest: number;

  /** @param longest bytes of a believable header */
  constructor(file: BinaryFile, longest: number) {
    this.file = file;
    this.#longest = longest;
  }

  /** "damaged" at a byte; without one, at the value just read. */
  fault(what: string, position = this.position): Memory3Error {
    return this.file.damaged(`${what} (at byte ${position})`);
  }

  /** Steps over the next `length` bytes and returns where in `view` they begin, valid until the next call. */
  take(length: number, what: string): number {
    let from = this.position - this.#windowStart;
    if (from + length > this.#window.byteLength) {
      this.file.checkInside(this.position, length, `${what} (at byte ${this.position})`);
      if (this.position + length > this.#longest) {
        throw this.fault(`${what} would make the header longer than ${this.#longest} bytes`);
      }
      this.#moveWindow(length, what);
      from = 0;
    }
    this.position += length;
    return from;
  }

  #moveWindow(length: number, what: string): void {
    const wanted = Math.min(Math.max(length, windowBytes), this.file.size - this.position);
    // A new buffer for each window would wait for the garbage collector outside the heap.
    if (wanted > this.#buffer.byteLength) this.#buffer = new ArrayBuffer(wanted);
    this.#window = new Uint8Array(this.#buffer, 0, wanted);
    this.view = new DataView(this.#buffer, 0, wanted);
    this.file.readInto(this.#window, this.position, what);
    this.#windowStart = this.position;
  }

  u32(what: string): number {
    const from = this.take(4, what);
    return this.view.getUint32(from, true);
  }

  /** A size or an offset; none beyond 2^53 can be true. `part` comes before `what` in the error. */
  u64(what: string, part = ''): number {
    const from = this.take(8, what);
    const value = this.view.getUint32(from, true) + this.view.getUint32(from + 4, true) * 2 ** 32;
    if (!Number.isSafeInteger(value)) {
      throw this.fault(`${part}${what} is ${this.view.getBigUint64(from, true)}, which cannot be`, this.position - 8);
    }
    return value;
  }

  /** How many things of at least `smallest` bytes follow. */
  count(what: string, limit: number, smallest: number): number {
    const value = this.u64(what);
    if (value * smallest > this.file.size - this.position) {
      throw this.fault(`${what} is ${value}, more than the rest of the file can hold`, this.position - 8);
    }
    if (value > limit) throw this.fault(`${what} is ${value}; more than ${limit} is not believable`, this.position - 8);
    return value;
  }

  /** Adds to the memory of all arrays so far, and returns the sum. */
  countMemory(bytes: number): number {
    this.#memory += bytes;
    return this.#memory;
  }

  boolean(what: string): boolean {
    const value = this.view.getUint8(this.take(1, what));
    if (value > 1) throw this.fault(`${what} is a boolean with the value ${value}`, this.position - 1);
    return value === 1;
  }

  string(what: string, limit: number): string {
    const length = this.u64(what, 'the length of ');
    if (length > limit) {
      throw this.fault(`${what} claims a string of ${length} bytes; ${limit} is the most`, this.position - 8);
    }
    const start = this.position;
    const from = this.take(length, what);
    try {
      return this.#utf8.decode(this.#window.subarray(from, from + length));
    } catch {
      throw this.fault(`${what} is not valid UTF-8`, start);
    }
  }
}
