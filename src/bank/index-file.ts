/**
 * The graph index's file beside the bank: usearch's own format, followed by a trailer that says what it belongs to.
 *
 *   usearch bytes | ids, float64 each | trailer as JSON | length of the JSON, uint32 | CRC-32 of all before, uint32 | "M3INDEX1"
 *
 * Numbers are little-endian. The whole file is verified before a byte of it reaches usearch. A file that is missing,
 * damaged or of other vectors is not an error: the bank builds the index again.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { messageOf } from '../errors.ts';
import { GraphIndex } from './neighbours.ts';

const magic = 'M3INDEX1';
const tailBytes = 16;
const trailerSchema = z.strictObject({
  vectorsId: z.string(),
  dimensions: z.int().positive(),
  count: z.int().nonnegative(),
});

/** What a file must belong to. */
export interface IndexOwner {
  /** The bank's `vectors_id`. */
  readonly vectorsId: string;
  readonly dimensions: number;
}

export type IndexFile =
  | { readonly state: 'sound'; readonly ids: readonly number[] }
  | { readonly state: 'missing' }
  /** Of another bank, or of this bank before it was rewritten. */
  | { readonly state: 'foreign' }
  | { readonly state: 'damaged'; readonly what: string };

/** Reads and tests the whole file. */
export function checkIndexFile(path: string, owner: IndexOwner): IndexFile {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { state: 'missing' };
    throw error;
  }
  try {
    const end = fstatSync(file).size - tailBytes;
    const tail = end < 0 ? Buffer.alloc(tailBytes) : read(file, end, tailBytes);
    if (tail.toString('latin1', 8) !== magic) return { state: 'damaged', what: 'its end is missing' };
    if (checksumOf(file, end + 4) !== tail.readUInt32LE(4)) return { state: 'damaged', what: 'its checksum is wrong' };
    const jsonStart = end - tail.readUInt32LE(0);
    const trailer = trailerSchema.parse(JSON.parse(read(file, jsonStart, end - jsonStart).toString('utf8')));
    if (trailer.vectorsId !== owner.vectorsId || trailer.dimensions !== owner.dimensions) return { state: 'foreign' };
    const ids = read(file, jsonStart - 8 * trailer.count, 8 * trailer.count);
    return { state: 'sound', ids: Array.from({ length: trailer.count }, (_, row) => ids.readDoubleLE(8 * row)) };
  } finally {
    closeSync(file);
  }
}

/** Tests and loads the file's graph. */
export function loadIndexFile(path: string, owner: IndexOwner): GraphIndex | Exclude<IndexFile, { state: 'sound' }> {
  // Another process may put a new file under this name between the test and the load.
  for (let attempt = 0; attempt < 3; attempt++) {
    const before = stamp(path);
    const file = checkIndexFile(path, owner);
    if (file.state !== 'sound') return file;
    let index: GraphIndex;
    try {
      index = GraphIndex.load(path, owner.dimensions, file.ids);
    } catch (error) {
      if (before !== stamp(path)) continue;
      return { state: 'damaged', what: messageOf(error) };
    }
    if (before === stamp(path)) return index;
  }
  return { state: 'damaged', what: 'it changes while it is read' };
}

/** Replaces the file in one step; a crash leaves the old one or the new one. */
export function saveIndexFile(path: string, owner: IndexOwner, index: GraphIndex): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    index.save(temporary);
    const ids = index.ids();
    const idBytes = new Uint8Array(Float64Array.from(ids).buffer);
    const json = Buffer.from(
      JSON.stringify({ vectorsId: owner.vectorsId, dimensions: owner.dimensions, count: ids.length }),
    );
    const tail = Buffer.alloc(tailBytes);
    tail.writeUInt32LE(json.length);
    const body = Buffer.concat([idBytes, json, tail.subarray(0, 4)]);
    const file = openSync(temporary, 'a+');
    try {
      tail.writeUInt32LE(crc32(body, checksumOf(file, fstatSync(file).size)), 4);
      tail.write(magic, 8, 'latin1');
      writeFileSync(file, Buffer.concat([body, tail.subarray(4)]));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function stamp(path: string): string {
  const file = statSync(path, { throwIfNoEntry: false });
  return file === undefined ? '' : `${file.ino} ${file.size} ${file.mtimeMs}`;
}

function read(file: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (readSync(file, bytes, 0, length, position) !== length) throw new Error('the index file became shorter');
  return bytes;
}

/** CRC-32 of the file's first `length` bytes, a part at a time: the file may be larger than a buffer can be. */
function checksumOf(file: number, length: number): number {
  const part = 1 << 22;
  let checksum = 0;
  for (let position = 0; position < length; position += part) {
    checksum = crc32(read(file, position, Math.min(part, length - position)), checksum);
  }
  return checksum;
}
