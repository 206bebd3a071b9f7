/** Word documents (docx): paragraphs, tables, notes behind the paragraph that refers to them, and what of them is not read. */
import { tableText } from './table.ts';
import { type ExtractedText, onOneLine, Unreadable, type UnreadPart } from './text.ts';
import { withReadableText } from './word-markup.ts';
import { attributeOf, holds, isElement, localNameOf, parseXml } from './xml.ts';

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

/**
 * The text of a Word document.
 * @throws Unreadable for bytes that are none.
 */
export async function fromWord(bytes: Uint8Array): Promise<ExtractedText> {
  const { default: mammoth } = await import('mammoth');
  let text = '';
  // The reader's own raw text knows neither notes nor the ends of lines within a paragraph.
  const transformDocument = (document: WordDocument): WordPart => {
    text = wordText(document, document.notes);
    return { ...document, children: [] };
  };
  try {
    const { buffer, parts } = await withReadableParts(bytes);
    const { messages } = await mammoth.convertToHtml({ buffer }, { transformDocument });
    const unread = await unreadOf(
      messages.map(({ message }) => message),
      parts,
    );
    return { title: null, text, unread };
  } catch (error) {
    throw new Unreadable(`the Word document cannot be read: ${onOneLine(error)}`, { cause: error });
  }
}

/** The files within a document that hold its text; Word numbers them at times. */
const textParts = /(?:^|\/)(?:document|footnotes|endnotes)\d*\.xml$/i;

interface ReadableParts {
  readonly buffer: Buffer;
  /** The XML of the parts with text. */
  readonly parts: readonly string[];
}

async function withReadableParts(bytes: Uint8Array): Promise<ReadableParts> {
  const { default: JSZip } = await import('jszip');
  const archive = await JSZip.loadAsync(bytes);
  const parts: string[] = [];
  let isChanged = false;
  for (const file of archive.file(textParts)) {
    const xml = await file.async('string');
    const readable = await withReadableText(xml);
    parts.push(readable);
    if (readable === xml) continue;
    archive.file(file.name, readable);
    isChanged = true;
  }
  if (!isChanged) return { buffer: Buffer.from(bytes), parts };
  // Pictures and fonts would be unpacked and packed for nothing.
  for (const file of archive.file(/^/)) if (!/\.(?:xml|rels)$/i.test(file.name)) archive.remove(file.name);
  return { buffer: await archive.generateAsync({ type: 'nodebuffer' }), parts };
}

/** Elements that stand for text which lies elsewhere: another file's, or an attribute's. */
const elsewhere: ReadonlySet<string> = new Set(['altChunk', 'subDoc', 'contentPart', 'textpath']);

/** What the reader says that it ignored, as far as there is text in that. */
async function unreadOf(messages: readonly string[], parts: readonly string[]): Promise<readonly UnreadPart[]> {
  const ignored = namesIn(messages, /^An unrecognised element was ignored: (.*)$/);
  const symbols = namesIn(messages, /^A w:sym element with an unsupported character was ignored: (.*)$/);
  const trees = ignored.length === 0 ? [] : await Promise.all(parts.map(parseXml));
  const lost = ignored.filter((name) => {
    // "w:t", or "{namespace}t".
    const localName = name.slice(Math.max(name.lastIndexOf('}'), name.lastIndexOf(':')) + 1);
    return trees.some((tree) =>
      holds(tree, (node) => {
        if (!isElement(node) || localNameOf(node) !== localName) return false;
        if (elsewhere.has(localName)) return true;
        return holds(node, ({ data = '' }) => data.trim() !== '') || attributeOf(node, 'string') !== undefined;
      }),
    );
  });
  return [
    ...unreadPart(lost, 'element', 'what stands there is not read; copy it into ordinary paragraphs'),
    ...drawn(parts),
    ...unreadPart(symbols, 'symbol', 'it is not known which character that is'),
  ];
}

/** Words of diagrams and charts lie in files of their own, of which the reader says nothing. */
function drawn(parts: readonly string[]): readonly UnreadPart[] {
  const uses = parts.flatMap((xml) => [...xml.matchAll(/graphicData\b[^<>]*\buri\s*=\s*["'][^"']*\/(diagram|chart)/g)]);
  const kinds = [...new Set(uses.map(([, kind]) => `${kind}s`))];
  if (kinds.length === 0) return [];
  return [{ part: kinds.join(', '), reason: 'words in them are not read; copy them into ordinary paragraphs' }];
}

function namesIn(messages: readonly string[], pattern: RegExp): readonly string[] {
  return [...new Set(messages.flatMap((message) => pattern.exec(message)?.[1] ?? []))];
}

function unreadPart(names: readonly string[], kind: string, reason: string): readonly UnreadPart[] {
  if (names.length === 0) return [];
  return [{ part: `${kind}${names.length === 1 ? '' : 's'} ${names.join(', ')}`, reason }];
}

/** The text of a part; a note follows the paragraph that refers to it, in a table the table. */
function wordText(part: WordPart, notes: WordDocument['notes']): string {
  const found: WordPart[] = [];
  const textOf = (inner: WordPart): string => {
    if (inner.type === 'text') return inner.value ?? '';
    if (inner.type === 'tab') return '\t';
    if (inner.type === 'break') return '\n';
    if (inner.type === 'noteReference') found.push(inner);
    if (inner !== part && (inner.type === 'paragraph' || inner.type === 'table')) return wordText(inner, notes);
    return (inner.children ?? inner.body ?? []).map(textOf).join('');
  };
  const isBlock = ({ type }: WordPart): boolean => type === 'paragraph' || type === 'table';
  /** Unlike `textOf` it leaves the notes to the table. */
  const cellText = (inner: WordPart): string => {
    if (inner.type === 'table') return `${tableOf(inner)}\n\n`;
    if (inner.children === undefined) return textOf(inner);
    return inner.children.map(cellText).join('') + (isBlock(inner) ? '\n\n' : '');
  };
  const tableOf = (table: WordPart): string =>
    tableText(
      partsOf(table).map((row) =>
        (row.type === 'tableRow' ? partsOf(row) : [row]).map((cell) => ({
          text: cellText(cell).trim(),
          isBlock: holdsTable(cell),
        })),
      ),
    );
  const text = (part.type === 'table' ? tableOf(part) : textOf(part)) + (isBlock(part) ? '\n\n' : '');
  const behind = found.flatMap((reference) => notes.resolve(reference) ?? []);
  return text + behind.map((note) => wordText(note, notes)).join('');
}

/** Of a table its rows, of a row its cells. What else has text between them is one of its own; a bookmark has none. */
function partsOf({ children = [] }: WordPart): readonly WordPart[] {
  return children.filter((child) => child.children !== undefined);
}

function holdsTable({ type, children = [] }: WordPart): boolean {
  return type === 'table' || children.some(holdsTable);
}
