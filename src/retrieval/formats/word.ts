/** Word documents (docx): paragraphs, and notes behind the paragraph that refers to them. */
import { type ExtractedText, onOneLine, Unreadable } from './text.ts';

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
