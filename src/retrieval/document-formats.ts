/** File formats: bytes to a document's title and text. Heavy readers are loaded when the first file needs them. */
import { extname } from 'node:path';
import type { HtmlToTextOptions } from 'html-to-text';

export const mediaTypes = {
  text: 'text/plain',
  markdown: 'text/markdown',
  html: 'text/html',
  pdf: 'application/pdf',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  jsonLines: 'application/x-ndjson',
} as const;
export type MediaType = (typeof mediaTypes)[keyof typeof mediaTypes];

const byExtension: ReadonlyMap<string, MediaType> = new Map([
  ['.txt', mediaTypes.text],
  ['.text', mediaTypes.text],
  ['.md', mediaTypes.markdown],
  ['.markdown', mediaTypes.markdown],
  ['.html', mediaTypes.html],
  ['.htm', mediaTypes.html],
  ['.xhtml', mediaTypes.html],
  ['.pdf', mediaTypes.pdf],
  ['.docx', mediaTypes.docx],
  ['.jsonl', mediaTypes.jsonLines],
  ['.ndjson', mediaTypes.jsonLines],
]);

/** The type that a file's name promises; a name that promises nothing is read as text if its bytes are text. */
export function mediaTypeOf(path: string): MediaType {
  return byExtension.get(extname(path).toLowerCase()) ?? mediaTypes.text;
}

export interface ExtractedText {
  readonly title: string | null;
  readonly text: string;
}

/** Why a file gives no text: the message is the reason, in words for the user. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

/**
 * @returns a file's title, if it has one, and its text.
 * @throws Unreadable for bytes that are not what `mediaType` says.
 */
export async function extractText(bytes: Uint8Array, mediaType: MediaType): Promise<ExtractedText> {
  switch (mediaType) {
    case mediaTypes.pdf:
      return fromPdf(bytes);
    case mediaTypes.docx:
      return fromDocx(bytes);
    case mediaTypes.html:
      return fromHtml(decodeHtml(bytes));
    case mediaTypes.markdown: {
      const text = decodeText(bytes);
      return { title: /^#[ \t]+(.+?)[ \t#]*$/m.exec(text)?.[1] ?? null, text };
    }
    default:
      return { title: null, text: decodeText(bytes) };
  }
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

function decodeAs(encoding: string, bytes: Uint8Array): string | null {
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

/** HTML may name an old encoding in its head. */
function decodeHtml(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.subarray(0, 2048)).toString('latin1');
  const label = /<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)/i.exec(head)?.[1];
  const declared = label === undefined || decodeAs('utf-8', bytes) !== null ? null : decodeAs(label, bytes);
  return declared ?? decodeText(bytes);
}

const htmlOptions: HtmlToTextOptions = {
  wordwrap: false,
  selectors: [
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'img', format: 'skip' },
    { selector: 'nav', format: 'skip' },
    { selector: 'ul', options: { itemPrefix: '- ' } },
    { selector: 'table', format: 'dataTable', options: { uppercaseHeaderCells: false } },
    ...[1, 2, 3, 4, 5, 6].map((level) => ({ selector: `h${level}`, options: { uppercase: false } })),
  ],
  // The library's own limits would drop text in silence.
  limits: { maxInputLength: Number.MAX_SAFE_INTEGER },
};

async function fromHtml(html: string): Promise<ExtractedText> {
  const { convert } = await import('html-to-text');
  const title = convert(html, {
    wordwrap: false,
    baseElements: { selectors: ['title'], returnDomByDefault: false },
    limits: { maxBaseElements: 1, maxInputLength: Number.MAX_SAFE_INTEGER },
  });
  return { title: title === '' ? null : title, text: convert(html, htmlOptions) };
}

async function fromPdf(bytes: Uint8Array): Promise<ExtractedText> {
  const { extractText: extractPages, getDocumentProxy, getMeta } = await import('unpdf');
  try {
    // A copy: the reader takes the buffer away. Verbosity 0: its warnings would land on the terminal.
    await using document = disposable(await getDocumentProxy(Uint8Array.from(bytes), { verbosity: 0 }));
    const { text } = await extractPages(document.value, { mergePages: false });
    const { info } = await getMeta(document.value);
    const title: unknown = info.Title;
    return { title: typeof title === 'string' && title.trim() !== '' ? title.trim() : null, text: text.join('\n\n') };
  } catch (error) {
    const isProtected = error instanceof Error && error.name === 'PasswordException';
    throw new Unreadable(isProtected ? 'the PDF needs a password' : `the PDF cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function fromDocx(bytes: Uint8Array): Promise<ExtractedText> {
  const { default: mammoth } = await import('mammoth');
  try {
    const { value } = await mammoth.extractRawText({ buffer: Buffer.from(bytes) });
    return { title: null, text: value };
  } catch (error) {
    throw new Unreadable(`the Word document cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function disposable<T extends { destroy(): Promise<void> }>(value: T): AsyncDisposable & { readonly value: T } {
  return { value, [Symbol.asyncDispose]: () => value.destroy() };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\s+/g, ' ').trim() : String(error);
}
