/**
 * The checksum that every row carries: CRC-32 over all its columns and the table's name.
 *
 * SQLite trusts its pages. A flipped bit in a page can change a value, or make one table's row appear as another's, and
 * nothing would notice; CRC-32 finds every single error of up to 32 neighbouring bits, and all but one in 2^32 of the
 * others. It guards against damage, not against somebody who forges.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export type ColumnValue = string | number | null | Uint8Array;

/** @returns CRC-32 of the table's name and the columns in their order; no two different rows have the same input. */
export function rowChecksum(table: string, columns: readonly ColumnValue[]): number {
  const blobs = columns.filter((value) => value instanceof Uint8Array);
  const head = JSON.stringify([
    table,
    ...columns.map((value) => (value instanceof Uint8Array ? [value.length] : value)),
  ]);
  return blobs.reduce((checksum, blob) => crc32(blob, checksum), crc32(head));
}

/** Hex sha256 of a text's UTF-8 bytes. */
export function contentHash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}
