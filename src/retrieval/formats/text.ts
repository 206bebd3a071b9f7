/** What every format shares: what it gives, why it gives nothing, and how bytes become text. */
import { messageOf } from '../../errors.ts';

export interface ExtractedText {
  readonly title: string | null;
  readonly text: string;
  /** What of the file could not be read. */
  readonly unread?: readonly UnreadPart[];
}

export interface UnreadPart {
  /** Names it within its file: "page 3", "pages 2, 4-6". */
  readonly part: string;
  /** Completes the sentence "part was skipped: ...". */
  readonly reason: string;
}

/** Why a file gives no text: the message is the reason, in words for the user. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

/**
 * Decodes text: UTF-16 where a byte order mark says so, else UTF-8; the mark itself is dropped.
 * @throws Unreadable for bytes that are neither, with the place of the first wrong one.
 */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const utf16 = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : null;
  const text = decodeAs(utf16 ?? 'utf-8', bytes);
  if (text === null) {
    throw new Unreadable(utf16 === null ? describeInvalidUtf8(bytes) : `it is not valid ${utf16.toUpperCase()}`);
  }
  if (text.includes('\0')) throw new Unreadable('it is a binary file');
  return text;
}

/** The text, or null where the bytes are not of that encoding, or there is no such one. */
export function decodeAs(encoding: string, bytes: Uint8Array): string | null {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (error) {
    // TypeError: bytes that the encoding does not have. RangeError: no such encoding.
    if (error instanceof TypeError || error instanceof RangeError) return null;
    throw error;
  }
}

function describeInvalidUtf8(bytes: Uint8Array): string {
  if (bytes.subarray(0, 8192).includes(0)) return 'it is a binary file';
  const lenient = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  let position = 0;
  for (const piece of lenient.split('\ufffd')) {
    position += Buffer.byteLength(piece);
    const isWritten = bytes[position] === 0xef && bytes[position + 1] === 0xbf && bytes[position + 2] === 0xbd;
    if (!isWritten) break;
    position += 3;
  }
  const byte = bytes[position]?.toString(16).padStart(2, '0');
  return `it is not valid UTF-8: byte 0x${byte} at position ${position}; convert it, or save it as UTF-16 with a byte order mark`;
}

/** What an error says, for a reason, which is one line. */
export function onOneLine(error: unknown): string {
  return messageOf(error).replace(/\s+/g, ' ').trim();
}
