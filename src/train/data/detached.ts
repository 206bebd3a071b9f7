/** A string of its own: one that was cut out of a text keeps all of that text in memory. */
export function detached(piece: string): string {
  return Buffer.from(piece, 'utf16le').toString('utf16le');
}
