import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { Memory3Error, messageOf } from '../errors.ts';

/** Largest single read; the operating system refuses 2 GiB and more at once. */
const readLimit = 1 << 30;

/** A file that is read at positions, never as a whole. Closed by `using` or `[Symbol.dispose]()`. */
export class BinaryFile implements Disposable {
  readonly path: string;
  readonly size: number;
  readonly #remedy: string;
  #descriptor: number | undefined;

  /**
   * @param remedy what to do if it is damaged; by default it was fetched
   * @throws Memory3Error "not-found", "usage" (a folder) or "disk" (no permission).
   */
  constructor(path: string, remedy = `Fetch ${path} again.`) {
    this.path = path;
    this.#remedy = remedy;
    try {
      this.#descriptor = openSync(path, 'r');
    } catch (cause) {
      const missing =
        cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR');
      if (missing) throw new Memory3Error('not-found', `There is no file ${path}.`, { cause });
      throw new Memory3Error('disk', `${path} cannot be opened: ${messageOf(cause)}`, { cause });
    }
    const status = fstatSync(this.#descriptor);
    this.size = status.size;
    if (!status.isFile()) {
      this[Symbol.dispose]();
      throw new Memory3Error('usage', `${path} is not a regular file.`);
    }
  }

  /**
   * Fills `target` from byte `position` on.
   * @param what names the part that is read, for the error: 'tensor "x"'
   * @throws Memory3Error "damaged" if the file ends before.
   */
  readInto(target: Uint8Array, position: number, what: string): void {
    if (this.#descriptor === undefined)
      throw new Memory3Error('usage', `${this.path} is closed; ${what} cannot be read.`);
    this.checkInside(position, target.byteLength, what);
    let done = 0;
    while (done < target.byteLength) {
      const count = this.#readSome(target, done, position + done, what);
      if (count === 0)
        throw this.damaged(`${what}: the file became shorter while it was open, byte ${position + done}`);
      done += count;
    }
  }

  #readSome(target: Uint8Array, from: number, position: number, what: string): number {
    try {
      return readSync(
        this.#descriptor as number,
        target,
        from,
        Math.min(readLimit, target.byteLength - from),
        position,
      );
    } catch (cause) {
      throw new Memory3Error('disk', `${this.path}: ${what} cannot be read: ${messageOf(cause)}`, { cause });
    }
  }

  /** The bytes `[position, position + length)` in a fresh array. @throws like `readInto` */
  read(position: number, length: number, what: string): Uint8Array<ArrayBuffer> {
    this.checkInside(position, length, what);
    const bytes = new Uint8Array(length);
    this.readInto(bytes, position, what);
    return bytes;
  }

  /** Throws unless the range lies in the file; called before anything of that length is allocated. */
  checkInside(position: number, length: number, what: string): void {
    if (position + length <= this.size) return;
    throw this.damaged(
      `${what} needs bytes ${position} to ${position + length}, but the file ends at byte ${this.size}: it is cut off, or a size in it is wrong`,
    );
  }

  /** An error about this file's bytes. */
  damaged(fault: string, cause?: unknown): Memory3Error {
    return new Memory3Error('damaged', `${basename(this.path)} is damaged: ${fault}.`, {
      remedy: this.#remedy,
      cause,
    });
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/**
 * A whole text file, with the error that its faults are thrown as.
 *
 * @param longest in bytes
 * @param remedy what to do if it is damaged; by default it was fetched
 * @throws Memory3Error "damaged" if it is longer or not valid UTF-8; "not-found"
 */
export function readTextFile(
  path: string,
  longest: number,
  remedy?: string,
): { text: string; damaged: BinaryFile['damaged'] } {
  using file = new BinaryFile(path, remedy);
  const damaged = file.damaged.bind(file);
  if (file.size > longest) throw damaged(`it has ${file.size} bytes; more than ${longest} are not believable`);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(file.read(0, file.size, 'the text'));
    return { text, damaged };
  } catch (cause) {
    if (cause instanceof TypeError) throw damaged('it is not valid UTF-8', cause);
    throw cause;
  }
}

/** A name from a file as an error shows it: in quotes, control characters escaped, not endless. */
export function quoted(name: string): string {
  return JSON.stringify(name.length <= 120 ? name : `${name.slice(0, 120)}...`);
}
