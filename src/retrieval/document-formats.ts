/** File formats: bytes to a document's title and text. Heavy readers are loaded when the first file needs them. */
import { extname } from 'node:path';
import { fromHtml } from './formats/html.ts';
import { fromPdf } from './formats/pdf.ts';
import { decodeText, type ExtractedText } from './formats/text.ts';
import { fromWord } from './formats/word.ts';

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
  const name = path.toLowerCase();
  // Of what may be gzip, JSON Lines alone are read so.
  const unpacked = name.endsWith('.gz') ? byExtension.get(extname(name.slice(0, -'.gz'.length))) : undefined;
  if (unpacked === mediaTypes.jsonLines) return unpacked;
  return byExtension.get(extname(name)) ?? mediaTypes.text;
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
      return fromWord(bytes);
    case mediaTypes.html:
      return fromHtml(bytes);
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
