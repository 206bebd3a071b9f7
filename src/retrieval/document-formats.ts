/** File formats: bytes to a document's title and text. Heavy readers are loaded when the first file needs them. */
import { extname } from 'node:path';
import type { HtmlToTextOptions } from 'html-to-text';
import { messageOf } from '../errors.ts';

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
  /** Pages of a PDF on which there is no text, from 1. */
  readonly emptyPages?: readonly number[];
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
      return { title: firstHeading(text), text };
    }
    default:
      return { title: null, text: decodeText(bytes) };
  }
}

/** The first heading of level 1, without the "#" that may close it; that of "C#" is a part of the word. */
function firstHeading(text: string): string | null {
  for (const [, line = ''] of text.matchAll(/^#[ \t]+(.*)$/gm)) {
    const heading = line.trim();
    let end = heading.length;
    while (heading[end - 1] === '#') end--;
    const isClosed = heading.charAt(end - 1).trim() === '';
    const title = isClosed ? heading.slice(0, end).trimEnd() : heading;
    if (title !== '') return title;
  }
  return null;
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

/** What HTML allows; the converter makes a place for each column and row that a cell spans. */
const longestSpan = { colspan: 1000, rowspan: 65_534 } as const;

function checkSpans(html: string): void {
  for (const [cell] of html.matchAll(/<t[dh]\b[^<>]*/gi)) {
    for (const [, name = '', value = ''] of cell.matchAll(/\b(colspan|rowspan)\s*=\s*["']?\s*(\d+)/gi)) {
      const longest = longestSpan[name.toLowerCase() as keyof typeof longestSpan];
      if (Number(value) > longest) {
        throw new Unreadable(`a table's cell has a ${name} of ${value}, and HTML allows no more than ${longest}`);
      }
    }
  }
}

async function fromHtml(html: string): Promise<ExtractedText> {
  checkSpans(html);
  const { convert } = await import('html-to-text');
  try {
    const title = convert(html, {
      wordwrap: false,
      baseElements: { selectors: ['title'], returnDomByDefault: false },
      limits: { maxBaseElements: 1, maxInputLength: Number.MAX_SAFE_INTEGER },
    });
    return { title: title === '' ? null : title, text: convert(html, htmlOptions) };
  } catch (error) {
    // Elements in elements in elements: the converter calls itself for each.
    throw new Unreadable(`the HTML cannot be read: ${onOneLine(error)}`, { cause: error });
  }
}

async function fromPdf(bytes: Uint8Array): Promise<ExtractedText> {
  const { extractText: extractPages, getDocumentProxy, getMeta } = await import('unpdf');
  try {
    // A copy: the reader takes the buffer away. Verbosity 0: its warnings would land on the terminal.
    await using document = disposable(await getDocumentProxy(Uint8Array.from(bytes), { verbosity: 0 }));
    const { text } = await extractPages(document.value, { mergePages: false });
    const { info } = await getMeta(document.value);
    const title: unknown = info.Title;
    return {
      title: typeof title === 'string' && title.trim() !== '' ? title.trim() : null,
      text: text.join('\n\n'),
      emptyPages: text.flatMap((page, index) => (page.trim() === '' ? [index + 1] : [])),
    };
  } catch (error) {
    const isProtected = error instanceof Error && error.name === 'PasswordException';
    throw new Unreadable(isProtected ? 'the PDF needs a password' : `the PDF cannot be read: ${onOneLine(error)}`, {
      cause: error,
    });
  }
}

/** What the reader makes of a Word document and its parts, as far as there is text in it. */
interface WordPart {
  readonly type: string;
  readonly value?: string;
  readonly children?: readonly WordPart[];
  /** Of a foot or end note. */
  readonly body?: readonly WordPart[];
}
interface WordDocument extends WordPart {
  readonly notes: { resolve(reference: WordPart): WordPart | undefined };
}

async function fromDocx(bytes: Uint8Array): Promise<ExtractedText> {
  const { default: mammoth } = await import('mammoth');
  let text = '';
  // The reader's own raw text knows neither notes nor the ends of lines within a paragraph.
  const transformDocument = (document: WordDocument): WordPart => {
    text = wordText(document, document.notes);
    return { ...document, children: [] };
  };
  try {
    await mammoth.convertToHtml({ buffer: Buffer.from(bytes) }, { transformDocument });
    return { title: null, text };
  } catch (error) {
    throw new Unreadable(`the Word document cannot be read: ${onOneLine(error)}`, { cause: error });
  }
}

/** The text of a part; a note follows the paragraph that refers to it. */
function wordText(part: WordPart, notes: WordDocument['notes']): string {
  const found: WordPart[] = [];
  const textOf = (inner: WordPart): string => {
    if (inner.type === 'text') return inner.value ?? '';
    if (inner.type === 'tab') return '\t';
    if (inner.type === 'break') return '\n';
    if (inner.type === 'noteReference') found.push(inner);
    if (inner !== part && inner.type === 'paragraph') return wordText(inner, notes);
    return (inner.children ?? inner.body ?? []).map(textOf).join('');
  };
  const text = textOf(part) + (part.type === 'paragraph' ? '\n\n' : '');
  const behind = found.flatMap((reference) => notes.resolve(reference) ?? []);
  return text + behind.map((note) => wordText(note, notes)).join('');
}

function disposable<T extends { destroy(): Promise<void> }>(value: T): AsyncDisposable & { readonly value: T } {
  return { value, [Symbol.asyncDispose]: () => value.destroy() };
}

function onOneLine(error: unknown): string {
  return messageOf(error).replace(/\s+/g, ' ').trim();
}
